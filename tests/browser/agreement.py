"""Whether the colours of a picture agree with masks: where colour was blended in, and where it should be.

Knows the camera's own picture, because the tests do; where it differs from what the viewer shows, and how,
says which pixels were coloured. Does not look at the masks to decide that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stream.overlay import TINT, draw_overlay
from stream.stamp import stamp_area
from syncvis_online.colors import color_of
from syncvis_online.types import Image, Mask, Track, decode_mask

DECISIVE = 0.5
"""A pixel counts as coloured where the squared distance to a blend is less than this share of that to the
camera's own picture: codecs carry colour over an edge, thinned."""


@dataclass(frozen=True)
class Agreement:
    """`iou` of coloured pixels and published masks; `pixels` is the area of the masks that was compared."""

    iou: float
    pixels: int


def coloured_pixels(shown: Image, camera: Image, colors: Sequence[tuple[int, int, int]]) -> Mask:
    """Where `shown` is better explained by `camera` blended with one of `colors` than by `camera` itself.

    Single pixels, which two lossy codecs in a row leave, go with the majority around them.
    """
    if not colors:
        return np.zeros(shown.shape[:2], np.bool_)
    shown_f, camera_f = shown.astype(np.float32), camera.astype(np.float32)
    blends = [(1 - TINT) * camera_f + TINT * np.float32(color) for color in colors]
    nearest = np.minimum.reduce([_squared_distance(shown_f, blend) for blend in blends])
    coloured = nearest < DECISIVE * _squared_distance(shown_f, camera_f)
    return np.asarray(cv2.medianBlur(coloured.astype(np.uint8), 3) > 0)


def _squared_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the colours in each pixel of two pictures, shape (H, W)."""
    difference = one - other
    return np.asarray(np.einsum("hwc,hwc->hw", difference, difference))


def masked_pixels(tracks: Sequence[Track], shape: tuple[int, int]) -> Mask:
    """The union of the tracks' masks, shape (H, W)."""
    union = np.zeros(shape, np.bool_)
    for track in tracks:
        union |= decode_mask(track.mask)
    return union


def comparable_pixels(tracks: Sequence[Track], shape: tuple[int, int]) -> Mask:
    """Everywhere but under tags and the frame stamp, which cover the picture and say nothing of masks."""
    blank = np.zeros((*shape, 3), np.uint8)
    tags = (draw_overlay(blank, tracks) != draw_overlay(blank, tracks, labels=False)).any(axis=2)
    tags = cv2.morphologyEx(tags.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    covered = cv2.dilate(tags, np.ones((7, 7), np.uint8)) > 0
    covered[stamp_area(*shape)] = True
    return np.asarray(~covered)


def agreement(shown: Image, camera: Image, tracks: Sequence[Track]) -> Agreement:
    """How the colours of a shown picture agree with the tracks that were published for it."""
    shape = shown.shape[0], shown.shape[1]
    compared = comparable_pixels(tracks, shape)
    coloured = coloured_pixels(shown, camera, [color_of(track.track_id) for track in tracks]) & compared
    masked = masked_pixels(tracks, shape) & compared
    union = int((coloured | masked).sum())
    return Agreement(float((coloured & masked).sum()) / union if union else 1.0, int(masked.sum()))


def own_shares(shown: Image, camera: Image, tracks: Sequence[Track], least: int) -> list[float]:
    """Of each mask with at least `least` pixels inside it to compare: the share of them that its own colour explains
    better than the colour of any other track on the frame does.
    """
    shape = shown.shape[0], shown.shape[1]
    compared = comparable_pixels(tracks, shape)
    shown_f, camera_f = shown.astype(np.float32), camera.astype(np.float32)
    blends = [(1 - TINT) * camera_f + TINT * np.float32(color_of(track.track_id)) for track in tracks]
    nearest = np.argmin([_squared_distance(shown_f, blend) for blend in blends], axis=0) if blends else None
    shares = []
    for i, track in enumerate(tracks):
        inside = cv2.erode(decode_mask(track.mask).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        pixels = inside & compared
        if nearest is not None and np.count_nonzero(pixels) >= least:
            shares.append(float((nearest[pixels] == i).mean()))
    return shares


class Clip:
    """The pictures that a camera sends in a loop, searched by likeness."""

    REDUCED = (160, 90)

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images
        self._reduced = np.stack([self._reduce(image) for image in images])

    def nearest(self, shown: Image, tracks: Sequence[Track]) -> int:
        """The index of the picture that `shown` is made of, judged where no mask, tag or stamp lies."""
        shape = shown.shape[0], shown.shape[1]
        free = comparable_pixels(tracks, shape) & ~masked_pixels(tracks, shape)
        weight = cv2.resize(free.astype(np.float32), self.REDUCED, interpolation=cv2.INTER_AREA)[..., None]
        differences = np.abs(self._reduced - self._reduce(shown)) * (weight > 0.99)
        return int(differences.mean(axis=(1, 2, 3)).argmin())

    def _reduce(self, image: Image) -> np.ndarray:
        return cv2.resize(image, self.REDUCED, interpolation=cv2.INTER_AREA).astype(np.float32)


def is_covered(truth: Mask, tracks: Sequence[Track]) -> bool:
    """Whether one published mask covers half of an object, and is not just a mask of everything around it."""
    for track in tracks:
        mask = decode_mask(track.mask)
        overlap = int((mask & truth).sum())
        if 2 * overlap >= truth.sum() and 3 * overlap >= mask.sum():
            return True
    return False
