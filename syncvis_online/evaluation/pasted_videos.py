"""Videos to judge on that are pasted from photographs held out of training: real looks, exact identities.

Owns which photographs are fit for it. The paths and the pasting are those of training (`data/pasted.py`), drawn from
seeds of their own. Knows no tracker and no metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from syncvis_online.data.clips import Clip
from syncvis_online.data.pasted import pasted_clip
from syncvis_online.data.pasted_cutouts import CutoutBank
from syncvis_online.data.photographs import Photograph, PhotographSet
from syncvis_online.data.youtube_vis import GroundTruthTube
from syncvis_online.errors import DataError
from syncvis_online.types import LABELS, Image, encode_mask

SIZE = (360, 640)
Split = Literal["heldout", "train"]
FPS = 10.0


@dataclass(slots=True)
class PastedVideo:
    """Cut-outs on paths over a photograph, as an EvaluationVideo of `length` frames; drawn when it is played."""

    backgrounds: Sequence[Photograph] = field(repr=False)
    cutouts: CutoutBank = field(repr=False)
    seed: int
    length: int
    size: tuple[int, int] = SIZE
    split: Split = "heldout"
    _clip: Clip | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        return f"pasted-{self.seed}" if self.split == "heldout" else f"pasted-{self.split}-{self.seed}"

    @property
    def fps(self) -> float:
        return FPS

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(LABELS)

    def frames(self) -> Iterator[Image]:
        rng = np.random.default_rng((self.seed, self.length))
        self._clip = pasted_clip(self.backgrounds, self.cutouts, self.length, self.size, rng)
        yield from self._clip.images

    def ground_truth(self) -> tuple[GroundTruthTube, ...]:
        if self._clip is None:
            raise RuntimeError(f"{self.name}: the ground truth is known when the frames are drawn")
        return tuple(
            GroundTruthTube(i, LABELS[label], tuple(encode_mask(m) if m.any() else None for m in masks))
            for i, (label, masks) in enumerate(zip(self._clip.labels, self._clip.masks, strict=True))
        )


def pasted_videos(
    root: Path, seeds: Sequence[int], length: int, split: Split = "heldout"
) -> tuple[PastedVideo, ...]:
    """A video for each of `seeds`, of the photographs in `root` that are held out of training, or of the others.

    Cut-outs come from all of them; backgrounds are those on which every object of LABELS is annotated and nothing has
    to be ignored. Raises DataError when the photographs are missing or damaged, or none is fit.
    """
    photographs = list(PhotographSet(root, split))
    backgrounds = [p for p in photographs if len(p.labelled) == len(LABELS) and not p.ignore.any()]
    if not backgrounds:
        raise DataError(f"{root}: no photograph of '{split}' is annotated in full")
    try:
        cutouts = CutoutBank.of(photographs)
    except ValueError as error:
        raise DataError(f"{root}: {error}") from None
    return tuple(PastedVideo(backgrounds, cutouts, seed, length, split=split) for seed in seeds)
