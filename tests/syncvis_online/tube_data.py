"""Small tubes of boxes, for the tests of the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from syncvis_online.evaluation.tubes import GroundTruthTube, PredictedTube, VideoResult
from syncvis_online.types import RLE, encode_mask

Box = tuple[int, int, int, int] | None
HEIGHT, WIDTH = 40, 60


def box(spec: Box) -> RLE | None:
    """The mask of (x0, y0, x1, y1)."""
    if spec is None:
        return None
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[spec[1] : spec[3], spec[0] : spec[2]] = True
    return encode_mask(mask)


def truth(
    track_id: int, boxes: Sequence[Box], label: str = "person", *, crowd: bool = False
) -> GroundTruthTube:
    return GroundTruthTube(track_id, label, tuple(box(b) for b in boxes), crowd)


def track(track_id: int, boxes: Sequence[Box], label: str = "person", score: float = 0.9) -> PredictedTube:
    return PredictedTube(track_id, label, score, tuple(box(b) for b in boxes))


def video(
    ground_truth: Sequence[GroundTruthTube],
    predicted: Sequence[PredictedTube],
    labels: Sequence[str] = ("person", "car", "dog"),
) -> VideoResult:
    return VideoResult(tuple(ground_truth), tuple(predicted), frozenset(labels))


def random_video(
    rng: np.random.Generator, *, labels: Sequence[str] = ("person", "car"), length: int = 6
) -> VideoResult:
    """Drifting boxes, and predictions of them that are shifted, lost, given other ids, other labels."""
    ground_truth, predicted = [], []
    for i in range(int(rng.integers(1, 5))):
        label = str(rng.choice(labels))
        x, y = int(rng.integers(0, 40)), int(rng.integers(0, 20))
        boxes: list[Box] = [
            (x + t, y, x + t + 10, y + 12) if rng.random() < 0.85 else None for t in range(length)
        ]
        if any(boxes):
            ground_truth.append(truth(i + 1, boxes, label))
        cut = int(rng.integers(1, length + 1))
        for part, frames in enumerate((range(cut), range(cut, length))):
            dx, dy = (int(v) for v in rng.integers(-3, 4, 2))
            found: list[Box] = [None] * length
            for t in frames:
                if rng.random() < 0.85:
                    found[t] = (max(0, x + t + dx), max(0, y + dy), x + t + dx + 10, y + dy + 12)
            if any(found):
                given = label if rng.random() < 0.9 else str(rng.choice(labels))
                predicted.append(track(10 * i + part, found, given, float(rng.random())))
    return video(ground_truth, predicted, labels)
