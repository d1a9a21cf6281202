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
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from syncvis_online.evaluation.tubes import GroundTruthTube, PredictedTube, VideoResult, area, intersections

IOU_THRESHOLD = 0.5
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


@dataclass(frozen=True, slots=True)
class _Frame:
    """Detections of one class on one frame: indices of tubes, and the IoU of each pair (G, D)."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    iou: NDArray[np.float64]


def identity_counts(results: Sequence[VideoResult]) -> IdentityCounts:
    """The counts summed over videos and classes; classes that the ground truth never labels are left out."""
    total = IdentityCounts()
    for result in results:
        for label in sorted(result.labels | {tube.label for tube in result.ground_truth}):
            truth = [tube for tube in result.ground_truth if tube.label == label]
            predicted = [tube for tube in result.predicted if tube.label == label]
            total += _count(truth, predicted)
    return total


def _count(truth: Sequence[GroundTruthTube], predicted: Sequence[PredictedTube]) -> IdentityCounts:
    objects = [tube for tube in truth if not tube.crowd]
    crowds = [tube for tube in truth if tube.crowd]
    length = max([len(tube.masks) for tube in truth] + [len(tube.masks) for tube in predicted], default=0)
    frames = [_frame(objects, crowds, predicted, t) for t in range(length)]
    truths = sum(len(frame.truth) for frame in frames)
    predictions = sum(len(frame.predicted) for frame in frames)
    idtp = _identity_matches(frames, len(objects), len(predicted))
    tp, switches = _clear(frames, len(objects))
    return IdentityCounts(
        IDTP=idtp,
        IDFP=predictions - idtp,
        IDFN=truths - idtp,
        TP=tp,
        FP=predictions - tp,
        FN=truths - tp,
        IDSW=switches,
    )


def _frame(
    objects: Sequence[GroundTruthTube],
    crowds: Sequence[GroundTruthTube],
    predicted: Sequence[PredictedTube],
    t: int,
) -> _Frame:
    truth = [(i, m) for i, tube in enumerate(objects) if (m := tube.masks[t]) is not None]
    found = [(i, m) for i, tube in enumerate(predicted) if (m := tube.masks[t]) is not None]
    truth_masks, found_masks = [m for _, m in truth], [m for _, m in found]
    common = intersections(truth_masks, found_masks)
    of_found = area(found_masks)
    union = area(truth_masks)[:, None] + of_found[None] - common
    iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    inside = intersections([m for c in crowds if (m := c.masks[t]) is not None], found_masks)
    # A detection that matches no object and lies mostly in a crowd is neither right nor wrong.
    mostly = inside.sum(axis=0) >= 0.5 * np.maximum(of_found, 1)
    keep = ~mostly | (iou >= IOU_THRESHOLD).any(axis=0)
    of_predicted = np.array([i for i, _ in found], dtype=np.int64)
    return _Frame(np.array([i for i, _ in truth], dtype=np.int64), of_predicted[keep], iou[:, keep])


def _identity_matches(frames: Sequence[_Frame], objects: int, predicted: int) -> int:
    """Detections that agree under the one-to-one matching of trajectories for which most agree."""
    agree = np.zeros((objects, predicted), dtype=np.int64)
    for frame in frames:
        agree[np.ix_(frame.truth, frame.predicted)] += frame.iou >= IOU_THRESHOLD
    return int(agree[linear_sum_assignment(agree, maximize=True)].sum())


def _clear(frames: Sequence[_Frame], objects: int) -> tuple[int, int]:
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
