"""Videos of the synthetic world that were rendered and encoded ahead: what benchmarks that train decoders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.targets import Targets
from syncvis_online.training.rendered import RenderedVideos

VIDEO_FRAMES = 16
SIZE, CELL = (192, 320), 4
LEAST_CELLS = 4
HELD_OUT = 8100
"""First seed of the videos to judge by."""
FPS = 10.0
"""Of the rendered videos."""


@dataclass(frozen=True)
class Videos:
    """Encoded videos: features (V * F, ...) of F frames each in half precision, identities (V, F, h, w) by cell
    (0: background), and the labels of each video's identities.
    """

    features: FrameFeatures
    identities: NDArray[np.uint8]
    labels: list[NDArray[np.int64]]

    def clip(self, video: int, first: int, frames: int) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Positions of a clip's frames, its masks (I, T, h, w) and labels (I,)."""
        at = first + np.arange(frames)
        cells = self.identities[video, at]
        shown = [i for i in range(1, len(self.labels[video]) + 1) if (cells == i).any()]
        masks = np.stack([cells == i for i in shown]) if shown else np.zeros((0, *cells.shape), np.bool_)
        labels = self.labels[video][np.array(shown, dtype=np.int64) - 1]
        count = self.identities.shape[1]
        return video * count + at, torch.from_numpy(masks).float(), torch.from_numpy(labels)

    def batch(self, size: int, frames: int, rng: np.random.Generator) -> tuple[FrameFeatures, Targets]:
        """Random clips of so many frames as windows (size, frames, ...) and targets."""
        count, length = self.identities.shape[:2]
        clips = [
            self.clip(int(rng.integers(count)), int(rng.integers(length - frames + 1)), frames)
            for _ in range(size)
        ]
        most = max(1, *(len(labels) for _, _, labels in clips))
        h, w = self.identities.shape[2:]
        masks, labels = torch.zeros(size, most, frames, h, w), torch.full((size, most), -1)
        for b, (_, mask, label) in enumerate(clips):
            masks[b, : len(label)], labels[b, : len(label)] = mask, label
        targets = Targets(masks, labels, torch.ones(size, frames, h, w), LEAST_CELLS)
        return self.window([positions for positions, _, _ in clips]), targets

    def window(self, positions: Sequence[NDArray[np.int64]]) -> FrameFeatures:
        """Features of clips, (B, T, ...) in float32."""
        found = self.features.windows(torch.from_numpy(np.stack(positions)))
        return FrameFeatures(
            tuple(x.float() for x in found.levels),
            found.sizes,
            found.mask_features.float(),
            tuple(x.float() for x in found.level_masks),
        )


@torch.inference_mode()
def encoded(model: SyncVIS, seeds: range, cache: Path, apart: int = 1) -> Videos:
    """Every frame of the videos of `seeds` through the encoder, or those that lie `apart`."""
    rendered = RenderedVideos("medium", seeds, VIDEO_FRAMES, SIZE, cache, processes=2)
    frames: list[FrameFeatures] = []
    identities, labels = [], []
    for path in tqdm(rendered.paths, unit="video", desc="encode"):
        images = torch.from_numpy(np.load(path / "images.npy")[::apart]).permute(0, 3, 1, 2)
        found = model.encode(images)
        maps = F.avg_pool2d(found.mask_features, CELL // model.config.mask_stride)
        frames.append(
            FrameFeatures(
                tuple(x.half() for x in found.levels),
                found.sizes,
                maps.half(),
                tuple(x.half() for x in found.level_masks),
            )
        )
        identities.append(np.load(path / "identities.npy")[::apart, CELL // 2 :: CELL, CELL // 2 :: CELL])
        labels.append(np.load(path / "labels.npy"))
    together = FrameFeatures(
        tuple(torch.cat(x) for x in zip(*(f.levels for f in frames), strict=True)),
        frames[0].sizes,
        torch.cat([f.mask_features for f in frames]),
        tuple(torch.cat(x) for x in zip(*(f.level_masks for f in frames), strict=True)),
    )
    return Videos(together, np.stack(identities), labels)


def flattened(window: FrameFeatures) -> FrameFeatures:
    """Windows (B, T, ...) as frames (B * T, ...)."""
    return FrameFeatures(
        tuple(x.flatten(0, 1) for x in window.levels),
        window.sizes,
        window.mask_features.flatten(0, 1),
        tuple(x.flatten(0, 1) for x in window.level_masks),
    )
