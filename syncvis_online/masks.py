"""From mask logits at the size of the mask features to disjoint masks at the picture's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from syncvis_online.tracker import Detection
from syncvis_online.types import Mask, Track, box_of_mask, encode_mask


def disjoint_masks(detections: Sequence[Detection], size: tuple[int, int]) -> list[Mask]:
    """One mask of `size` (H, W) for each detection, all with logits; a pixel claimed twice goes to the larger one."""
    height, width = size
    best = np.zeros(size, dtype=np.float32)
    owner = np.full(size, -1, dtype=np.int16)
    for i, detection in enumerate(detections):
        assert detection.logits is not None
        logits = cv2.resize(detection.logits, (width, height), interpolation=cv2.INTER_LINEAR)
        better = logits > best  # also > 0: inside the mask
        owner[better] = i
        np.maximum(best, logits, out=best)
    return [owner == i for i in range(len(detections))]


def tracks_of(
    detections: Sequence[Detection], size: tuple[int, int], labels: Sequence[str]
) -> tuple[Track, ...]:
    """Tracks of one frame, ordered by id. A mask of which nothing is left to see is not answered (no ghosts); a lost
    identity is answered with an empty one, and its last box.
    """
    seen = [detection for detection in detections if detection.logits is not None]
    tracks = []
    for detection, mask in zip(seen, disjoint_masks(seen, size), strict=True):
        if mask.any():
            tracks.append(_track(detection, labels, mask, box_of_mask(mask)))
    for detection in detections:
        if detection.logits is None and detection.box is not None:
            height, width = size
            x0, y0, x1, y1 = detection.box
            box = (x0 * width, y0 * height, x1 * width, y1 * height)
            tracks.append(_track(detection, labels, np.zeros(size, dtype=np.bool_), box))
    return tuple(sorted(tracks, key=lambda track: track.track_id))


def _track(
    detection: Detection, labels: Sequence[str], mask: Mask, box: tuple[float, float, float, float]
) -> Track:
    return Track(
        track_id=detection.track_id,
        label=labels[detection.label],
        score=detection.score,
        mask=encode_mask(mask),
        box_xyxy=box,
        age_s=detection.age_s,
        state="lost" if detection.logits is None else "confirmed",
    )
