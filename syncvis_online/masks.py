"""From mask logits at the size of the mask features to disjoint masks at the picture's size."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.tracker import Detection
from syncvis_online.types import Mask, Track, box_of_mask, encode_mask


def disjoint_masks(detections: Sequence[Detection], size: tuple[int, int]) -> list[Mask]:
    """One mask of `size` (H, W) for each detection, all with logits; a pixel claimed twice goes to the larger one.

    The masks lie in memory column by column, as run lengths are counted. Of each only the rectangle around what is
    inside is enlarged; that gives the same pixels.
    """
    best = np.zeros(size, dtype=np.float32)
    owner = np.full(size, -1, dtype=np.int16)
    places = []
    for i, detection in enumerate(detections):
        assert detection.logits is not None
        inside = detection.logits > 0
        rows, columns = (_around(np.logical_or.reduce(inside, axis=1 - axis), size[axis]) for axis in (0, 1))
        cells, pixels = zip(rows, columns, strict=True)
        places.append(pixels)
        largest, whose = best[pixels], owner[pixels]
        if largest.size:
            logits = cv2.resize(detection.logits[cells], largest.shape[::-1], interpolation=cv2.INTER_LINEAR)
            whose[logits > largest] = i  # also > 0: inside the mask
            np.maximum(largest, logits, out=largest)
    return [_whole(owner[pixels] == i, pixels, size) for i, pixels in enumerate(places)]


def _around(touched: NDArray[np.bool_], pixels: int) -> tuple[slice, slice]:
    """The range of cells that holds all that are touched, and as a range of that many pixels; both empty where none
    is. With a cell that is not touched on each side, between which and the next nothing can be inside; and it begins
    and ends where a cell's edge is a pixel's edge, so that what is enlarged is sampled where the whole would be.
    """
    cells, index = len(touched), np.flatnonzero(touched)
    if not index.size:
        return slice(0, 0), slice(0, 0)
    step = cells // gcd(cells, pixels)
    first = max(0, int(index[0]) - 1) // step * step
    last = min(cells, -(-(int(index[-1]) + 2) // step) * step)
    return slice(first, last), slice(first * pixels // cells, last * pixels // cells)


def _whole(part: Mask, where: tuple[slice, ...], size: tuple[int, int]) -> Mask:
    """A mask of `size` that is empty but for `part`."""
    whole = np.zeros(size, dtype=np.bool_, order="F")
    whole[where] = part
    return whole


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
