"""What becomes of identities while objects are out of sight: the same one after it, another one, or none.

Not a published metric: HOTA and IDF1 mix this with all other causes of a wrong identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from syncvis_online.evaluation.overlaps import ClassOverlaps, class_overlaps
from syncvis_online.evaluation.tubes import VideoResult

MATCH_IOU = 0.3
"""An object that comes out from behind something shows a part of itself first."""
RECALL_S = 1.0
"""How soon after it is in sight again an object must be found, and how lately before it was."""
BINS_S = ((0.2, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0))


@dataclass(frozen=True, slots=True)
class OcclusionCounts:
    """Absences of objects that were tracked before them: what they were tracked as after."""

    same: int = 0
    other: int = 0
    lost: int = 0

    def __add__(self, other: OcclusionCounts) -> OcclusionCounts:
        return OcclusionCounts(**{key: value + getattr(other, key) for key, value in asdict(self).items()})

    @property
    def kept(self) -> float:
        """The share with the same identity after as before; 0 when there was no absence."""
        return self.same / max(1, self.same + self.other + self.lost)


def occlusion_counts(results: Sequence[VideoResult], fps: float) -> dict[str, OcclusionCounts]:
    """Counts by how long nothing of an object was in sight, "A-B s"; ranges in BINS_S.

    An absence counts when the object was found in the last RECALL_S seconds before it and was in sight for half of as
    long after it. "lost": it is not found in that time.
    """
    counts = {f"{low:g}-{high:g} s": OcclusionCounts() for low, high in BINS_S}
    for overlaps in class_overlaps(results):
        found, in_sight = _found(overlaps)
        for row, sight in zip(found, in_sight, strict=True):
            for gap_s, outcome in _absences(row, sight, round(RECALL_S * fps), fps):
                for (low, high), name in zip(BINS_S, counts, strict=True):
                    if low <= gap_s < high:
                        counts[name] += outcome
    return counts


def _found(overlaps: ClassOverlaps) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The track that each object overlaps best on each frame, or -1, (G, T); and whether it is in sight, (G, T)."""
    found = np.full((overlaps.objects, len(overlaps.frames)), -1)
    in_sight = np.zeros_like(found, dtype=np.bool_)
    for t, frame in enumerate(overlaps.frames):
        in_sight[frame.truth, t] = True
        if frame.iou.size:
            best = frame.iou.argmax(1)
            good = frame.iou.max(1) >= MATCH_IOU
            found[frame.truth[good], t] = frame.predicted[best[good]]
    return found, in_sight


def _absences(
    found: NDArray[np.int64], in_sight: NDArray[np.bool_], recall: int, fps: float
) -> list[tuple[float, OcclusionCounts]]:
    """Each absence of one object: how long, in seconds, and what came of it."""
    seen = np.flatnonzero(in_sight)
    outcomes = []
    for last, first in pairwise(seen.tolist()):
        before, after = found[max(0, last - recall + 1) : last + 1], found[first : first + recall]
        if first - last < 2 or not (before >= 0).any():
            continue
        if np.count_nonzero(in_sight[first : first + recall]) < recall / 2:
            continue
        was = before[before >= 0][-1]
        now = after[after >= 0]
        outcome = OcclusionCounts(same=1) if was in now else OcclusionCounts(other=1)
        outcomes.append(((first - last - 1) / fps, outcome if len(now) else OcclusionCounts(lost=1)))
    return outcomes
