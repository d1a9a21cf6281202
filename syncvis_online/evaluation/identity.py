"""How well identities last: IDF1, identity switches and MOTA, as TrackEval defines them.

IDF1 matches whole trajectories one to one (Ristani et al., "Performance Measures and a Data Set for
Multi-Target, Multi-Camera Tracking", 2016); switches follow CLEAR (Bernardin and Stiefelhagen, 2008): matched
by frame, where a pair of the frame before goes on if it can. Both at mask IoU 0.5. Videos are evaluated class
by class and the counts summed over classes and videos (TrackEval's `cls_comb_det_av`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from syncvis_online.evaluation.overlaps import IOU_THRESHOLD, ClassOverlaps, FrameOverlap, class_overlaps
from syncvis_online.evaluation.tubes import VideoResult

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class IdentityCounts:
    """Detections (a mask on a frame) counted by what became of them, and identity switches."""

    IDTP: int = 0
    IDFP: int = 0
    IDFN: int = 0
    TP: int = 0
    FP: int = 0
    FN: int = 0
    IDSW: int = 0

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        return IdentityCounts(**{key: value + getattr(other, key) for key, value in asdict(self).items()})

    @property
    def idf1(self) -> float:
        """2 IDTP / (2 IDTP + IDFP + IDFN), in [0, 1]; 0 when there is nothing at all."""
        return self.IDTP / max(1.0, self.IDTP + 0.5 * self.IDFP + 0.5 * self.IDFN)

    @property
    def mota(self) -> float:
        """(TP - FP - IDSW) / (TP + FN): at most 1, negative when the errors outnumber the objects."""
        return (self.TP - self.FP - self.IDSW) / max(1, self.TP + self.FN)


def identity_counts(results: Sequence[VideoResult]) -> IdentityCounts:
    """The counts summed over videos and classes; classes that the ground truth never labels are left out."""
    total = IdentityCounts()
    for overlaps in class_overlaps(results):
        total += _count(overlaps)
    return total


def _count(overlaps: ClassOverlaps) -> IdentityCounts:
    frames = overlaps.frames
    truths = sum(len(frame.truth) for frame in frames)
    predictions = sum(len(frame.predicted) for frame in frames)
    idtp = _identity_matches(frames, overlaps.objects, overlaps.tracks)
    tp, switches = _clear(frames, overlaps.objects)
    return IdentityCounts(
        IDTP=idtp,
        IDFP=predictions - idtp,
        IDFN=truths - idtp,
        TP=tp,
        FP=predictions - tp,
        FN=truths - tp,
        IDSW=switches,
    )


def _identity_matches(frames: Sequence[FrameOverlap], objects: int, predicted: int) -> int:
    """Detections that agree under the one-to-one matching of trajectories for which most agree."""
    agree = np.zeros((objects, predicted), dtype=np.int64)
    for frame in frames:
        agree[np.ix_(frame.truth, frame.predicted)] += frame.iou >= IOU_THRESHOLD
    return int(agree[linear_sum_assignment(agree, maximize=True)].sum())


def _clear(frames: Sequence[FrameOverlap], objects: int) -> tuple[int, int]:
    """Matched detections and identity switches, frame by frame."""
    matched_count, switches = 0, 0
    last = np.full(objects, -1, dtype=np.int64)
    before = np.full(objects, -1, dtype=np.int64)
    for frame in frames:
        if not len(frame.truth) or not len(frame.predicted):
            # TrackEval leaves `before` as it was here; so does this, to give its numbers.
            continue
        goes_on = frame.predicted[None] == before[frame.truth][:, None]
        value = 1000.0 * goes_on + frame.iou
        value[frame.iou < IOU_THRESHOLD - _EPSILON] = 0
        rows, columns = linear_sum_assignment(value, maximize=True)
        real = value[rows, columns] > _EPSILON
        seen, given = frame.truth[rows[real]], frame.predicted[columns[real]]
        matched_count += len(seen)
        switches += int(((last[seen] >= 0) & (last[seen] != given)).sum())
        last[seen] = given
        before[:] = -1
        before[seen] = given
    return matched_count, switches
