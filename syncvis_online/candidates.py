"""What the slots say of one frame: class, score and mask of each, which of them say the same, and who is in sight.

Owns the score and the geometry of masks at the size of the mask features. Knows no identity, no time and no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncvis_online.association import mask_ious
from syncvis_online.features import mask_logits

CutOut = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""A rectangle, of a mask (h, w) and of a picture (h, w, 3), RGB, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Label, score and whether there is a mask, of every slot, (N,).

    Of the M slots whose class is likely enough to be answered at all, `row` (N,) names the place in `logits`
    and `inside` (M, h, w), in `extent` (M, 4), the first row and column inside and those behind the last, and in
    `overlap` (M, M), the IoU of each two; the masks of the others are never made, and their score is 0.
    """

    label: NDArray[np.int64]
    score: NDArray[np.float32]
    visible: NDArray[np.bool_]
    row: NDArray[np.int64]
    logits: NDArray[np.float32]
    inside: NDArray[np.bool_]
    extent: NDArray[np.intp]
    overlap: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        probability: NDArray[np.float32],
        embeds: Tensor,
        maps: Tensor,
        least_score: float,
        min_area: int,
    ) -> Self:
        """Score = class probability x mean mask probability inside the mask (Mask2Former's instance score).

        `probability` (N, K) of classes, mask embeddings `embeds` (N, Cm), mask features of the frame `maps` (Cm, h, w).
        No score below `least_score` matters; a mask has at least `min_area` cells.
        """
        best = probability.max(1)
        # The mask's share of the score is at most 1, so these are all that a threshold can let through.
        likely = np.flatnonzero(best >= least_score)
        index = torch.from_numpy(likely).to(embeds.device)
        masks = mask_logits(embeds[index], maps).float()
        inside = masks > 0
        area = inside.sum((1, 2))
        quality = (masks.sigmoid() * inside).sum((1, 2)) / area.clamp(min=1)
        score, visible = np.zeros_like(best), np.zeros(len(best), dtype=np.bool_)
        score[likely] = best[likely] * quality.cpu().numpy()
        visible[likely] = (area >= min_area).cpu().numpy()
        row = np.full(len(best), -1)
        row[likely] = np.arange(len(likely))
        logits, cells = masks.cpu().numpy(), inside.cpu().numpy()
        label, extent = probability.argmax(1), _extents(cells)
        return cls(label, score, visible, row, logits, cells, extent, mask_ious(cells, cells))

    def mask(self, slot: int) -> NDArray[np.bool_]:
        """The cells (h, w) of a slot that is visible."""
        return np.asarray(self.inside[self.row[slot]])

    def mask_logits(self, slot: int) -> NDArray[np.float32]:
        """The same before the threshold."""
        return np.asarray(self.logits[self.row[slot]])

    def boxes(self, slots: Sequence[int]) -> NDArray[np.float64]:
        """Of masks that are not empty: x0, y0, x1, y1 as shares of their sides, (n, 4)."""
        height, width = self.inside.shape[1:]
        top, left, bottom, right = self.extent[self.row[list(slots)]].T
        return np.stack([left / width, top / height, right / width, bottom / height], axis=1)

    def cut_out(self, slot: int, picture: NDArray[np.float32]) -> CutOut:
        """The rectangle around a mask that is not empty, and what a picture (h, w, 3) has there."""
        top, left, bottom, right = self.extent[self.row[slot]]
        return self.mask(slot)[top:bottom, left:right], picture[top:bottom, left:right]

    def without_duplicates(self, slots: NDArray[np.intp], taken: Sequence[int], most_iou: float) -> list[int]:
        """Slots in order of score, without those whose mask overlaps a better one, or one of `taken`, by more."""
        kept = list(taken)
        for j in slots[np.argsort(-self.score[slots], kind="stable")]:
            if (self.overlap[self.row[j], self.row[kept]] <= most_iou).all():
                kept.append(int(j))
        return kept[len(taken) :]

    def in_sight(self, slots: list[int], min_area: int) -> set[int]:
        """Those of `slots` of whose mask at least `min_area` cells are left where each cell goes to the largest
        logit: what is wholly behind others is not seen, and will not be answered.
        """
        if not slots:
            return set()
        rows = self.row[slots]
        owner = np.where(self.inside[rows].any(0), self.logits[rows].argmax(0), -1)
        return {j for i, j in enumerate(slots) if np.count_nonzero(owner == i) >= min_area}


def _extents(masks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Of masks (M, h, w) that are not empty: first row and column, and those behind the last, (M, 4)."""
    firsts, ends = [], []
    for axis in (2, 1):
        touched = np.asarray(masks.any(axis))
        firsts.append(touched.argmax(1))
        ends.append(touched.shape[1] - touched[:, ::-1].argmax(1))
    return np.stack([*firsts, *ends], axis=1)
