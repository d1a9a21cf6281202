"""Objects and tracks of one class in one video, frame by frame: who is there, and how much their masks overlap.

What the metrics by frame (HOTA, IDF1, CLEAR) have in common. Knows none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncvis_online.evaluation.tubes import GroundTruthTube, PredictedTube, VideoResult, area, intersections

IOU_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class FrameOverlap:
    """One frame: indices of the objects (G,) and tracks (D,) on it, and the IoU of each pair (G, D)."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassOverlaps:
    """One class in one video: the numbers of its objects and tracks, and its frames."""

    label: str
    objects: int
    tracks: int
    frames: tuple[FrameOverlap, ...]


def class_overlaps(results: Sequence[VideoResult]) -> Iterator[ClassOverlaps]:
    """Every class of every video; classes that a video's ground truth never labels are left out.

    A track that matches no object on a frame (IoU under IOU_THRESHOLD) and lies mostly in a crowd is neither
    right nor wrong there, and left out.
    """
    for result in results:
        for label in sorted(result.labels | {tube.label for tube in result.ground_truth}):
            truth = [tube for tube in result.ground_truth if tube.label == label]
            predicted = [tube for tube in result.predicted if tube.label == label]
            objects = [tube for tube in truth if not tube.crowd]
            crowds = [tube for tube in truth if tube.crowd]
            lengths = [len(tube.masks) for tube in truth] + [len(tube.masks) for tube in predicted]
            length = max(lengths, default=0)
            frames = tuple(_frame(objects, crowds, predicted, t) for t in range(length))
            yield ClassOverlaps(label, len(objects), len(predicted), frames)


def _frame(
    objects: Sequence[GroundTruthTube],
    crowds: Sequence[GroundTruthTube],
    predicted: Sequence[PredictedTube],
    t: int,
) -> FrameOverlap:
    truth = [(i, m) for i, tube in enumerate(objects) if (m := tube.masks[t]) is not None]
    found = [(i, m) for i, tube in enumerate(predicted) if (m := tube.masks[t]) is not None]
    truth_masks, found_masks = [m for _, m in truth], [m for _, m in found]
    common = intersections(truth_masks, found_masks)
    of_found = area(found_masks)
    union = area(truth_masks)[:, None] + of_found[None] - common
    iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    inside = intersections([m for c in crowds if (m := c.masks[t]) is not None], found_masks)
    mostly = inside.sum(axis=0) >= 0.5 * np.maximum(of_found, 1)
    keep = ~mostly | (iou >= IOU_THRESHOLD).any(axis=0)
    of_predicted = np.array([i for i, _ in found], dtype=np.int64)
    return FrameOverlap(np.array([i for i, _ in truth], dtype=np.int64), of_predicted[keep], iou[:, keep])
