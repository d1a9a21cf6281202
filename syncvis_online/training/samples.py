"""The mixture: which clip the step's n-th sample is. Sample n is the same in every run with the same seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from syncvis_online.data.clips import Clip
from syncvis_online.data.clips_covered import cover
from syncvis_online.targets import Targets
from syncvis_online.training.config import StageConfig, TrainingConfig
from syncvis_online.training.peers import Peers
from syncvis_online.training.sources import open_sources

MIN_AREA_PX = 24
"""Visible area on a frame, in pixels of the input, below which an instance is not wanted there."""
MAX_INSTANCES = 24
"""Instances of a clip that are kept, the largest first; the others are ignored regions."""


Sample = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Samples(Dataset[Sample]):
    """Clips of the mixture as tensors: images, cell masks (I, T, h, w), labels (I,), valid (T, h, w), and
    which classes are labelled (K,).
    """

    def __init__(self, config: TrainingConfig, *, progress: bool = True) -> None:
        self.config = config
        self._sources = open_sources(config, progress=progress)

    def stride(self, step: int) -> int:
        """The stride between windows at a step, the same for its whole batch."""
        rng = np.random.default_rng((self.config.seed, 1, step))
        return int(rng.choice(self.config.stage_at(step).strides))

    def frames(self, step: int) -> int:
        """Frames of a clip at a step, the same for its whole batch."""
        stage = self.config.stage_at(step)
        rng = np.random.default_rng((self.config.seed, 6, step))
        return stage.frames(self.stride(step), int(rng.choice(stage.ahead)))

    def size(self, step: int) -> tuple[int, int]:
        """(height, width) of the clips at a step, the same for its whole batch."""
        data = self.config.data
        scale = float(np.random.default_rng((self.config.seed, 4, step)).choice(data.scales))
        height, width = (32 * max(1, round(side * scale / 32)) for side in data.size)
        return height, width

    def example(self) -> Clip:
        """A clip to look at, the same in every run: as the last stage draws them."""
        step = self.config.steps - 1
        rng = np.random.default_rng((self.config.seed, 5))
        stage = self.config.stage_at(step)
        return self._clip(rng, stage, stage.frames(min(stage.strides)), self.config.data.size)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Sample `key` = (step, place in its batch)."""
        step, place = key
        stage = self.config.stage_at(step)
        rng = np.random.default_rng((self.config.seed, 0, step, place))
        return self._tensors(self._clip(rng, stage, self.frames(step), self.size(step)))

    def _clip(self, rng: np.random.Generator, stage: StageConfig, frames: int, size: tuple[int, int]) -> Clip:
        names = list(stage.shares)
        odds = np.array([stage.shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=odds / odds.sum()))]
        spacing = int(rng.choice(stage.spacings))
        clip = self._sources[name].clip(rng, frames, spacing, size)
        return cover(clip, rng) if rng.random() < stage.covered else clip

    def _tensors(self, clip: Clip) -> Sample:
        images = torch.from_numpy(clip.images).permute(0, 3, 1, 2).contiguous()
        order = np.argsort(-clip.masks.sum((1, 2, 3)), kind="stable")
        kept, rest = order[:MAX_INSTANCES], order[MAX_INSTANCES:]
        ignore = clip.ignore | clip.masks[rest].any(0) if rest.size else clip.ignore
        side = self.config.model.mask_stride
        masks, valid = _cells(clip.masks[kept], side), 1 - _cells(ignore, side)
        labelled = torch.zeros(len(self.config.model.labels), dtype=torch.bool)
        labelled[sorted(clip.labelled & set(range(len(labelled))))] = True
        return images, masks, torch.from_numpy(clip.labels[kept]), valid, labelled

    def collate(self, samples: list[Sample]) -> tuple[Tensor, Targets]:
        """Pad the instances of a batch to one count."""
        images, masks, labels, valid, labelled = zip(*samples, strict=True)
        most = max(1, *(len(x) for x in labels))
        T, h, w = valid[0].shape
        padded = torch.zeros(len(samples), most, T, h, w)
        names = torch.full((len(samples), most), -1, dtype=torch.int64)
        for b, (mask, label) in enumerate(zip(masks, labels, strict=True)):
            padded[b, : len(label)] = mask
            names[b, : len(label)] = label
        least = MIN_AREA_PX / self.config.model.mask_stride**2
        return torch.stack(images), Targets(padded, names, torch.stack(valid), least, torch.stack(labelled))


def _cells(masks: np.ndarray, side: int) -> Tensor:
    """Share of each cell of `side` x `side` pixels that is covered: (..., H, W) bool -> (..., h, w) float32."""
    covered = torch.from_numpy(masks).to(torch.uint8)
    rows = torch.stack([covered[..., i::side, :] for i in range(side)]).sum(0, dtype=torch.uint8)
    cells = torch.stack([rows[..., i::side] for i in range(side)]).sum(0, dtype=torch.uint8)
    return cells.float() / side**2


class StepBatches:
    """Batch sampler: the keys of one process's share of each step's samples, from step `first` on."""

    def __init__(self, config: TrainingConfig, first: int, peers: Peers) -> None:
        self.config, self.first, self.peers = config, first, peers

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.first, self.config.steps):
            places = range(self.peers.rank, self.config.stage_at(step).batch, self.peers.count)
            yield [(step, place) for place in places]

    def __len__(self) -> int:
        return self.config.steps - self.first
