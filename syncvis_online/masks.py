"""From mask logits at the size of the mask features to disjoint masks at the picture's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from syncvis_online.tracker import Detection
from syncvis_online.types import Mask, Track, box_of_mask, encode_mask


def disjoint_masks(detections: Sequence[Detection], size: tuple[int, int]) -> list[Mask]:
    """One mask of `size` (H, W) for each detection; a pixel claimed twice goes to the larger logit."""
    height, width = size
    best = np.zeros(size, dtype=np.float32)
    owner = np.full(size, -1, dtype=np.int16)
    for i, detection in enumerate(detections):
        logits = cv2.resize(detection.logits, (width, height), interpolation=cv2.INTER_LINEAR)
        better = logits > best  # also > 0: inside the mask
        owner[better] = i
        np.maximum(best, logits, out=best)
    return [owner == i for i in range(len(detections))]


def tracks_of(
    detections: Sequence[Detection], size: tuple[int, int], labels: Sequence[str]
) -> tuple[Track, ...]:
    """Tracks of one frame, ordered by id. A mask of which nothing is left to see is not answered (no ghosts)."""
    tracks = []
    for detection, mask in zip(detections, disjoint_masks(detections, size), strict=True):
        if mask.any():
            box = box_of_mask(mask)
            rle = encode_mask(mask)
            tracks.append(Track(detection.track_id, labels[detection.label], detection.score, rle, box))
    return tuple(sorted(tracks, key=lambda track: track.track_id))
