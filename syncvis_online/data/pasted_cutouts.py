"""Cut-outs: instances lifted out of photographs, with soft edges, ready to be pasted.

Owns which instances are whole enough. Knows nothing of where they are pasted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.photographs import Photograph
from syncvis_online.types import Mask, box_of_mask

MIN_AREA_PX, MIN_SIDE_PX, MAX_SIDE_PX = 900, 24, 288
MIN_WHOLE = 0.85
"""Least share of an instance's pixels in its largest connected part; less was cut through by an occluder."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """One instance: `rgba` (h, w, 4) uint8, alpha not premultiplied, transparent for 2 pixels around."""

    rgba: NDArray[np.uint8] = field(repr=False)
    label: int
    photograph: str


class CutoutBank:
    """The cut-outs of a set of photographs, and draws from them that are fair to rare classes."""

    def __init__(self, cutouts: Iterable[Cutout]) -> None:
        self._cutouts = tuple(cutouts)
        if not self._cutouts:
            raise ValueError("no cut-outs: no instance is whole and large enough")
        labels = np.array([cutout.label for cutout in self._cutouts])
        kinds, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
        # Square root of frequency: between the own mix of the data and the same few dogs over and over.
        self._weights = (np.sqrt(counts) / np.sqrt(counts).sum() / counts)[which]
        self.counts = {int(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}

    @classmethod
    def of(cls, photographs: Iterable[Photograph]) -> CutoutBank:
        """All whole cut-outs of `photographs`. Raises ValueError when there is none."""
        return cls(cutout for photograph in photographs for cutout in cut_out(photograph))

    def __len__(self) -> int:
        return len(self._cutouts)

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Cutout]:
        """`count` cut-outs, the same one twice only when there are not enough."""
        replace = count > len(self._cutouts)
        chosen = rng.choice(len(self._cutouts), size=count, replace=replace, p=self._weights)
        return [self._cutouts[i] for i in chosen]


def cut_out(photograph: Photograph) -> list[Cutout]:
    """The instances of a photograph that are whole enough to stand elsewhere."""
    return [_lift(photograph, i) for i in range(len(photograph.labels)) if _is_whole(photograph.masks[i])]


def _is_whole(mask: Mask) -> bool:
    """Large enough, in one piece, and cut off by at most one edge of the picture."""
    area = int(mask.sum())
    x0, y0, x1, y1 = box_of_mask(mask)
    if area < MIN_AREA_PX or min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        return False
    height, width = mask.shape
    if (x0 <= 1) + (y0 <= 1) + (x1 >= width - 1) + (y1 >= height - 1) > 1:
        return False
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int(stats[1:, cv2.CC_STAT_AREA].max()) >= MIN_WHOLE * area


def _lift(photograph: Photograph, index: int) -> Cutout:
    mask = photograph.masks[index]
    x0, y0, x1, y1 = (int(v) for v in box_of_mask(mask))
    border = 2
    image = cv2.copyMakeBorder(
        photograph.image[y0:y1, x0:x1], border, border, border, border, cv2.BORDER_REPLICATE
    )
    alpha = cv2.copyMakeBorder(
        mask[y0:y1, x0:x1].astype(np.uint8) * 255,
        border,
        border,
        border,
        border,
        cv2.BORDER_CONSTANT,
        value=0,
    )
    scale = min(1.0, MAX_SIDE_PX / max(image.shape[:2]))
    if scale < 1:
        shape = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image, alpha = (cv2.resize(x, shape, interpolation=cv2.INTER_AREA) for x in (image, alpha))
    # Annotated outlines hold a rim of the old background: half a pixel less, and a soft step.
    soft = cv2.GaussianBlur(cv2.erode(alpha, np.ones((2, 2), np.uint8)), (3, 3), 0)
    return Cutout(np.dstack([image, soft]), int(photograph.labels[index]), photograph.name)
