"""Losses: synchronized embedding optimization (SyncVIS) on windows whose labels persist (GenVIS).

Every term has a key of its own, "{term}.{branch}.{depth}". Training only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from syncvis_online.decoder import BranchPrediction, DecoderOutput
from syncvis_online.features import FrameFeatures
from syncvis_online.matcher import MatchWeights, extend_assignment, match_costs
from syncvis_online.targets import Targets
from syncvis_online.validation import STRICT, require


@dataclass(frozen=True, slots=True)
class CriterionConfig:
    """Weights of the losses (docs/model.md) and the number of points of the mask losses.

    `points` = 0 counts every cell of the mask features, which a small model can afford (fewer cells than the
    12,544 points of Mask2Former); otherwise points are sampled where the prediction is uncertain.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    label: float = 2.0
    no_object: float = 0.1
    bce: float = 5.0
    dice: float = 5.0
    frame: float = 1.0
    similarity: float = 0.0
    """Weight of the contrastive loss between frame and video queries of one instance (VITA; 0.5 there)."""
    sub_clip: float = 0.5
    """Weight of the terms of a sub-clip, beside 1 for the whole clip."""
    pilot: float = 0.0
    """Weight of the terms of `Criterion.pilot`, ours: a small model trained from nothing needs them."""
    auxiliary_pool: int = 1
    """Mask losses of all depths but the last are counted on cells of this many cells a side, averaged: deep
    supervision does not need the finest mask features."""
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        for name in (
            "label",
            "no_object",
            "bce",
            "dice",
            "frame",
            "similarity",
            "sub_clip",
            "pilot",
            "points",
        ):
            require(getattr(self, name) >= 0, f"{name} must not be negative")
        require(self.auxiliary_pool >= 1, "auxiliary_pool must be at least 1")
        require(self.oversample >= 1.0, "oversample must be at least 1")
        require(0.0 <= self.importance <= 1.0, "importance must be in [0, 1]")


Assignments = NDArray[np.int64]
"""(D, B, N): the instance that each query of the video branch holds, or -1, at each of D depths."""


def no_assignments(depths: int, windows: int, queries: int) -> Assignments:
    """Before the first window nothing is held."""
    return np.full((depths, windows, queries), -1, dtype=np.int64)


@dataclass
class _Rows:
    """Matched rows of one branch, gathered over samples: prediction, target and depth of each."""

    bce: list[Tensor] = field(default_factory=list)
    dice: list[Tensor] = field(default_factory=list)
    depth: list[Tensor] = field(default_factory=list)


def _coarse(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Area-average the last two axes to `size` and flatten them."""
    return F.adaptive_avg_pool2d(x.flatten(0, -3), size).flatten(1).unflatten(0, x.shape[:-2])


def _pool(x: Tensor, side: int) -> Tensor:
    """Average the last two axes over cells of `side` a side."""
    return x if side == 1 else F.avg_pool2d(x.flatten(0, -3), side).unflatten(0, x.shape[:-2])


@dataclass(frozen=True, slots=True)
class Pooled:
    """Mask features (B, T, Cm, h', w') and targets on the cells on which all depths but the last are counted."""

    maps: Tensor
    targets: Targets

    def frames(self, index: Sequence[int]) -> Pooled:
        """Some of the frames."""
        return Pooled(self.maps[:, list(index)], self.targets.frames(index))

    def one_by_one(self) -> Pooled:
        """Every frame as a window of its own, (B * T, ...)."""
        return Pooled(self.maps.flatten(0, 1)[:, None], self.targets.one_by_one())


class Criterion:
    """Losses of one decoded window; `video_assignments` persist from window to window (UVLA)."""

    def __init__(self, config: CriterionConfig) -> None:
        self.config = config
        self.weights = MatchWeights(config.label, config.bce, config.dice)

    def __call__(
        self,
        features: FrameFeatures,
        output: DecoderOutput,
        targets: Targets,
        previous: Assignments | None = None,
        *,
        frame_terms: bool = True,
        pooled: Pooled | None = None,
    ) -> tuple[dict[str, Tensor], Assignments]:
        """Loss terms (weighted) of windows (B, T), and the video branch's assignments after them.

        `frame_terms`: those of the frame branch too, and of the similarity of both. `pooled`: what `pooled` gives of
        the windows, for a caller whose windows share frames.
        """
        B, T = features.mask_features.shape[:2]
        D, N = len(output.layers), output.video_queries.shape[1]
        losses: dict[str, Tensor] = {}
        maps, coarse = features.mask_features, features.level_masks[2].float()
        small = pooled or self.pooled(maps, targets)
        frames = [p.frame for p in output.layers if p.frame is not None]
        if frames and frame_terms:  # a frame's own queries see a window of one frame, and start anew on each
            frame = BranchPrediction(
                torch.stack([p.logits for p in frames]).flatten(1, 2),
                torch.stack([p.embeds for p in frames]).flatten(1, 2),
            )
            one_by_one = (maps.flatten(0, 1)[:, None], coarse.flatten(0, 1)[:, None])
            of_each = (targets.one_by_one(), small.one_by_one())
            fresh = no_assignments(D, B * T, N)
            of_frames = self._branch(losses, "frame", frame, *one_by_one, features.sizes[2], *of_each, fresh)
        video = BranchPrediction(
            torch.stack([p.video.logits for p in output.layers]),
            torch.stack([p.video.embeds for p in output.layers]),
        )
        held = no_assignments(D, B, N) if previous is None else previous
        held = self._branch(losses, "video", video, maps, coarse, features.sizes[2], targets, small, held)
        if self.config.similarity and frame_terms:
            self._similarity_terms(losses, output, of_frames.reshape(D, B, T, N), held, targets)
        return losses, held

    def pooled(self, maps: Tensor, targets: Targets) -> Pooled:
        """`maps` (B, T, Cm, h, w) and their targets as the depths before the last want them."""
        pool = partial(_pool, side=self.config.auxiliary_pool)
        return Pooled(pool(maps), replace(targets, masks=pool(targets.masks), valid=pool(targets.valid)))

    def _similarity_terms(
        self,
        losses: dict[str, Tensor],
        output: DecoderOutput,
        of_frames: Assignments,
        of_video: Assignments,
        targets: Targets,
    ) -> None:
        """For each instance on each frame that shows it: among the frame's queries, its own is the most like the
        video query that holds it (cross-entropy over the frame's queries). of_frames (D, B, T, N): the instance that
        each frame query was matched to.
        """
        present = targets.present().transpose(1, 2).cpu().numpy()  # (B, T, I)
        for d, layer in enumerate(output.layers):
            assert layer.similarity is not None
            alike = of_frames[d][..., :, None] == of_video[d][:, None, None, :]  # (B, T, N, N)
            alike &= of_frames[d][..., :, None] >= 0
            b, t, frame_query, video_query = np.nonzero(alike)
            shown = present[b, t, of_frames[d][b, t, frame_query]]
            index = [torch.from_numpy(x[shown]) for x in (b, t, video_query, frame_query)]
            rows = layer.similarity.transpose(2, 3)[index[0], index[1], index[2]].float()
            term = F.cross_entropy(rows, index[3].to(rows.device), reduction="sum")
            losses[f"similarity.both.{d}"] = self.config.similarity * term / max(1, len(rows))

    def pilot(
        self, features: FrameFeatures, targets: Targets, predict: Callable[[Tensor], BranchPrediction]
    ) -> dict[str, Tensor]:
        """Terms that train encoder and heads without waiting for the decoder to find the instances.

        The tokens under an instance's own mask, averaged on one frame on which it is seen, are given to the
        heads in place of a query: they must name its class and give its mask on every frame of the window. It
        is what masked cross-attention averages once the attention mask is right (the idea of mask-piloted
        training, MP-Former, CVPR 2023, without its extra queries).
        """
        present = targets.present()
        chosen = present.any(-1)
        prediction = predict(_pooled(features, targets, present))
        names = torch.where(chosen, targets.labels, -100)
        label = F.cross_entropy(prediction.logits.float().flatten(0, 1), names.flatten(), reduction="sum")
        window, instance = chosen.nonzero(as_tuple=True)
        logits = _mask_logits(prediction.embeds[chosen], features.mask_features, window)
        bce, dice = self._mask_losses(logits, targets.masks[window, instance], targets.valid[window])
        scale = self.config.pilot / chosen.sum().clamp(min=1)
        return {
            "label.pilot.0": scale * self.config.label * label,
            "bce.pilot.0": scale * self.config.bce * bce.sum(),
            "dice.pilot.0": scale * self.config.dice * dice.sum(),
        }

    def _branch(
        self,
        losses: dict[str, Tensor],
        branch: str,
        prediction: BranchPrediction,
        maps: Tensor,
        coarse: Tensor,
        size: tuple[int, int],
        targets: Targets,
        small: Pooled,
        previous: Assignments,
    ) -> Assignments:
        """Match one branch and add its terms. D depths, G windows of T frames.

        prediction (D, G, N, ...); maps (G, T, Cm, h, w), and `coarse` (G, T, Cm, S), the same at `size`; `small`:
        maps and targets for all depths but the last.
        """
        present = targets.present().any(-1).cpu().numpy()  # (G, I)
        with torch.no_grad():
            masks = torch.einsum("dgnc,gtcs->dgnts", prediction.embeds.float(), coarse).flatten(-2)
        valid = _coarse(targets.valid, size).flatten(1)
        cost = match_costs(
            prediction.logits,
            masks,
            targets.labels.clamp(min=0),
            _coarse(targets.masks, size).flatten(2),
            valid,
            self.weights,
        )
        matched = np.stack(
            [
                [extend_assignment(*row) for row in zip(held, costs, present, strict=True)]
                for held, costs in zip(previous, cost, strict=True)
            ]
        )
        D, G, _ = matched.shape
        shown = (matched >= 0) & present[np.arange(G)[None, :, None], matched.clip(min=0)]
        last = np.arange(D) == D - 1
        scale = self.config.frame if branch == "frame" else 1.0
        counted = (matched >= 0) | ~_ignored(prediction.logits, masks, valid, targets.labelled)
        self._label_terms(losses, branch, prediction.logits, targets.labels, matched, shown, counted, scale)
        rows = _Rows()
        self._mask_rows(rows, prediction, maps, targets, matched, shown & last[:, None, None])
        self._mask_rows(rows, prediction, small.maps, small.targets, matched, shown & ~last[:, None, None])
        self._mask_terms(losses, branch, rows, D, scale, prediction.embeds)
        return matched

    def _mask_rows(
        self,
        rows: _Rows,
        prediction: BranchPrediction,
        maps: Tensor,
        targets: Targets,
        matched: Assignments,
        shown: NDArray[np.bool_],
    ) -> None:
        """Add the mask losses of the queries that `shown` (D, G, N) names."""
        if not shown.any():
            return
        window, depth, query = np.nonzero(shown.transpose(1, 0, 2))
        instance = torch.from_numpy(matched[depth, window, query]).to(maps.device)
        of_row, depths, queries = (torch.from_numpy(x).to(maps.device) for x in (window, depth, query))
        logits = _mask_logits(prediction.embeds[depths, of_row, queries], maps, of_row)
        bce, dice = self._mask_losses(logits, targets.masks[of_row, instance], targets.valid[of_row])
        rows.bce.append(bce)
        rows.dice.append(dice)
        rows.depth.append(depths)

    def _label_terms(
        self,
        losses: dict[str, Tensor],
        branch: str,
        logits: Tensor,
        labels: Tensor,
        matched: Assignments,
        shown: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        scale: float,
    ) -> None:
        """Cross-entropy on every query of `counted` (D, G, N); no-object for queries that hold nothing or whose
        instance is absent.
        """
        K = logits.shape[-1] - 1
        G = matched.shape[1]
        names = labels.cpu().numpy()[np.arange(G)[None, :, None], matched.clip(min=0)]
        wanted = torch.from_numpy(np.where(shown, names, K)).to(logits.device)
        weight = torch.ones(K + 1, device=logits.device)
        weight[K] = self.config.no_object
        wanted[~torch.from_numpy(counted).to(logits.device)] = -100
        for d in range(matched.shape[0]):
            term = F.cross_entropy(
                logits[d].float().flatten(0, 1), wanted[d].flatten(), weight, reduction="sum"
            )
            term = term / weight[wanted[d][wanted[d] >= 0]].sum().clamp(min=1e-6)
            losses[f"label.{branch}.{d}"] = scale * self.config.label * term

    def _mask_terms(
        self, losses: dict[str, Tensor], branch: str, rows: _Rows, depths: int, scale: float, embeds: Tensor
    ) -> None:
        if not rows.depth:
            zero = embeds.sum() * 0.0  # keeps every parameter in the graph when nothing is visible
            for d in range(depths):
                losses[f"bce.{branch}.{d}"] = losses[f"dice.{branch}.{d}"] = zero
            return
        depth = torch.cat(rows.depth)
        counts = torch.bincount(depth, minlength=depths).clamp(min=1)
        for name, weight, values in (
            ("bce", self.config.bce, rows.bce),
            ("dice", self.config.dice, rows.dice),
        ):
            sums = torch.zeros(depths, device=depth.device).index_add(0, depth, torch.cat(values))
            for d in range(depths):
                losses[f"{name}.{branch}.{d}"] = scale * weight * sums[d] / counts[d]

    def _mask_losses(self, logits: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """BCE and dice of M matched masks, (M,) each. logits, targets and valid (M, T, h, w)."""
        weight = valid
        if self.config.points:
            points = self._points(logits)
            logits, targets, weight = (_sample(x, points) for x in (logits, targets, weight))
        logits, targets, weight = logits.flatten(1), targets.flatten(1), weight.flatten(1)
        per_cell = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        bce = (per_cell * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)
        probability, targets = logits.sigmoid() * weight, targets * weight
        dice = 1 - (2 * (probability * targets).sum(-1) + 1) / (probability.sum(-1) + targets.sum(-1) + 1)
        return bce, dice

    @torch.no_grad()
    def _points(self, logits: Tensor) -> Tensor:
        """Points where the prediction is least certain, and some at random (PointRend), (M, T, P, 2) in [0, 1]."""
        M, T = logits.shape[:2]
        count = self.config.points
        drawn = torch.rand(M, T, int(count * self.config.oversample), 2, device=logits.device)
        certain = int(count * self.config.importance)
        best = (-_sample(logits, drawn).abs()).topk(certain, dim=-1).indices
        uncertain = drawn.gather(2, best[..., None].expand(-1, -1, -1, 2))
        return torch.cat((uncertain, torch.rand(M, T, count - certain, 2, device=logits.device)), dim=2)


def _mask_logits(embeds: Tensor, maps: Tensor, window: Tensor) -> Tensor:
    """Mask logits (M, T, h, w), float32, of M queries' embeds (M, Cm) on their windows' maps (G, T, Cm, h, w).

    `window` (M,) is in order. A GPU waits for launches, so there it is one product, of maps copied for each row; a CPU
    waits for memory, so there it is one product a window, and `unbind` makes one gradient of all of them.
    """
    if maps.is_cuda:
        return torch.einsum("mc,mtchw->mthw", embeds, maps[window].to(embeds.dtype)).float()
    counts = torch.bincount(window, minlength=len(maps)).tolist()
    products = [
        torch.einsum("mc,tchw->mthw", of_window, each.to(embeds.dtype))
        for of_window, each in zip(embeds.split(counts), maps.unbind(), strict=True)
    ]
    return torch.cat(products).float()


@torch.no_grad()
def _ignored(logits: Tensor, masks: Tensor, valid: Tensor, labelled: Tensor | None) -> NDArray[np.bool_]:
    """Queries (D, G, N) whose mask lies mostly where nothing is known, or whose class is one that the clip does not
    label: what they have found may well be there. masks (D, G, N, P) logits, valid (G, P), labelled (G, K).
    """
    ignored = torch.zeros(logits.shape[:3], dtype=torch.bool, device=logits.device)
    if not bool((valid == 1).all()):
        inside = masks > 0
        ignored |= inside.any(-1) & (2 * (inside * valid[:, None]).sum(-1) < inside.sum(-1))
    if labelled is not None:
        window = torch.arange(logits.shape[1], device=logits.device)[:, None]
        ignored |= ~labelled[window, logits[..., :-1].argmax(-1)]
    found: NDArray[np.bool_] = ignored.cpu().numpy()
    return found


def _pooled(features: FrameFeatures, targets: Targets, present: Tensor) -> Tensor:
    """Mean of the 1/8 tokens under each instance's mask on one frame (of those on which it is seen), (B, I, C)."""
    cells = _coarse(targets.masks, features.sizes[2])  # (B, I, T, S)
    odds = (present.float() + 1e-6).flatten(0, 1)
    frame = torch.multinomial(odds, 1).view(*present.shape[:2], 1, 1)
    here = cells.gather(2, frame.expand(-1, -1, -1, cells.shape[-1]))[:, :, 0]  # (B, I, S)
    share = here / here.sum(-1, keepdim=True).clamp(min=1e-3)
    by_frame = torch.einsum("bis,btsc->bitc", share, features.levels[2].float())
    return by_frame.gather(2, frame.expand(-1, -1, -1, by_frame.shape[-1]))[:, :, 0]


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of (M, T, h, w) at points (M, T, P, 2) in [0, 1], x first: (M, T, P)."""
    M, T = maps.shape[:2]
    values = F.grid_sample(
        maps.flatten(0, 1)[:, None].float(), 2 * points.flatten(0, 1)[:, None] - 1, align_corners=False
    )
    return values[:, 0, 0].unflatten(0, (M, T))
