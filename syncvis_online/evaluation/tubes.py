"""Tubes, what objects and tracks are through a whole video, and how much they overlap.

Owns the way from a tracker's answers by frame to tubes, and all mask arithmetic of the evaluation (on run
lengths). Knows no metric.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from syncvis_online.data.youtube_vis import GroundTruthTube
from syncvis_online.types import RLE, FrameTracks, Track

__all__ = [
    "GroundTruthTube",
    "PredictedTube",
    "VideoResult",
    "area",
    "intersections",
    "predicted_tubes",
    "tube_intersections",
]


@dataclass(frozen=True, slots=True)
class PredictedTube:
    """One track through one video. `masks` by frame, None where the track was not emitted.

    `score` is the mean of the emitted scores over the frames on which the track was emitted; `label` is the
    label with the largest sum of scores (the first in the alphabet of equals).
    """

    track_id: int
    label: str
    score: float
    masks: tuple[RLE | None, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VideoResult:
    """What one video holds and what a tracker said about it.

    `labels` are the classes that the ground truth annotates: predictions of other classes are not judged.
    """

    ground_truth: tuple[GroundTruthTube, ...]
    predicted: tuple[PredictedTube, ...]
    labels: frozenset[str]


class _Tube(Protocol):
    @property
    def masks(self) -> tuple[RLE | None, ...]: ...


def predicted_tubes(
    answers: Iterable[FrameTracks], length: int, size: tuple[int, int]
) -> tuple[PredictedTube, ...]:
    """The tubes of a tracker's answers to a video of `length` frames of `size` (height, width), by track id.

    What is answered as lost is on no frame of its tube: nothing of it was seen there.

    Raises ValueError when a frame is not answered exactly once and in order, an id is on a frame twice, or a
    mask has another size: such answers cannot be judged.
    """
    emitted: dict[int, dict[int, Track]] = defaultdict(dict)
    count = 0
    for count, answer in enumerate(answers, start=1):
        if answer.frame_index != count - 1:
            raise ValueError(f"frame {answer.frame_index} is answered where {count - 1} is due")
        for track in answer.tracks:
            if answer.frame_index in emitted[track.track_id]:
                raise ValueError(f"track {track.track_id} is twice on frame {answer.frame_index}")
            if track.mask["size"] != list(size):
                raise ValueError(
                    f"track {track.track_id} has a mask of {track.mask['size']}, not {list(size)}"
                )
            if track.seen:
                emitted[track.track_id][answer.frame_index] = track
    if count != length:
        raise ValueError(f"{count} of {length} frames are answered")
    return tuple(_tube(track_id, emitted[track_id], length) for track_id in sorted(emitted))


def _tube(track_id: int, by_frame: dict[int, Track], length: int) -> PredictedTube:
    votes: dict[str, float] = defaultdict(float)
    for track in by_frame.values():
        votes[track.label] += track.score
    label = max(sorted(votes), key=lambda name: votes[name])
    score = float(np.mean([track.score for track in by_frame.values()]))
    masks = tuple(by_frame[t].mask if t in by_frame else None for t in range(length))
    return PredictedTube(track_id, label, score, masks)


def area(masks: Sequence[RLE]) -> NDArray[np.float64]:
    """Pixels of each mask, shape (N,)."""
    # pycocotools 2.0.11 keeps the number of masks in a byte, which numpy 2 refuses beyond 255.
    parts = [coco_mask.area(list(masks[i : i + 255])) for i in range(0, len(masks), 255)]
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def intersections(a: Sequence[RLE], b: Sequence[RLE]) -> NDArray[np.float64]:
    """Common pixels of each pair of masks of one size, shape (len(a), len(b))."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    iou = np.asarray(coco_mask.iou(list(a), list(b), [0] * len(b)), dtype=np.float64)
    total = area(a)[:, None] + area(b)[None]
    # IoU is I / (total - I); I is a whole number of pixels.
    return np.asarray(np.rint(iou * total / (1 + iou)))


def tube_intersections(
    a: Sequence[PredictedTube], b: Sequence[GroundTruthTube]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pixels of tubes summed over frames: common ones (A, B), those of `a` (A,) and of `b` (B,)."""
    common, of_a, of_b = np.zeros((len(a), len(b))), np.zeros(len(a)), np.zeros(len(b))
    length = max([len(tube.masks) for tube in a] + [len(tube.masks) for tube in b], default=0)
    for t in range(length):
        rows, masks_a = _present(a, t)
        columns, masks_b = _present(b, t)
        of_a[rows] += area(masks_a)
        of_b[columns] += area(masks_b)
        common[np.ix_(rows, columns)] += intersections(masks_a, masks_b)
    return common, of_a, of_b


def _present(tubes: Sequence[_Tube], t: int) -> tuple[NDArray[np.int64], list[RLE]]:
    present = [(i, mask) for i, tube in enumerate(tubes) if (mask := tube.masks[t]) is not None]
    return np.array([i for i, _ in present], dtype=np.int64), [mask for _, mask in present]
