"""Makes objects of some classes unrecognisable in the picture itself, before anybody is given it.

Owns how far and how coarsely. Pure functions of frames, but for which ids were hidden before. docs/zones.md says what
this cannot promise: an object that the model does not find is shown.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.types import TrackedFrame
from syncvis_online.types import Image, Track, decode_mask

BLOCKS = 8
"""An object's longer side is shown as so many blocks: a head is one of them."""

MARGIN = 0.125
"""What is hidden around it, as a share of its longer side: masks are not exact, and one that is lost moves on."""

LEAST_PX = 8
"""The least margin, and the least side of a block."""


class Blur:
    """`labels`: the classes that are hidden; none: nothing is. Give it every frame of a camera, in order.

    A track that had one of these labels once stays hidden as long as it is there, whatever it is called later. One that
    is lost is hidden where it was seen last, for as long as the tracker answers it (`coast_s`).
    """

    def __init__(self, labels: Collection[str] = ()) -> None:
        self.labels = frozenset(labels)
        self._hidden: frozenset[int] = frozenset()

    @property
    def any(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self.labels)

    def of(self, frame: TrackedFrame) -> TrackedFrame:
        """The frame with another picture, where something on it is to be hidden."""
        hidden = [t for t in frame.tracks if t.label in self.labels or t.track_id in self._hidden]
        self._hidden = frozenset(track.track_id for track in hidden)
        if not hidden:
            return frame
        image = frame.image.copy()
        for track in hidden:
            _hide(image, frame.image, track)
        return replace(frame, image=image)


def _hide(canvas: Image, image: Image, track: Track) -> None:
    """Draw one track's surroundings on `canvas` as blocks, each the mean of the picture there."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = track.box_xyxy
    margin = max(LEAST_PX, round(MARGIN * max(x1 - x0, y1 - y0)))
    left, top = max(0, int(x0) - margin), max(0, int(y0) - margin)
    right, bottom = min(width, int(np.ceil(x1)) + margin), min(height, int(np.ceil(y1)) + margin)
    if left >= right or top >= bottom:
        return
    where = (slice(top, bottom), slice(left, right))
    blocks = _mosaic(image[where], max(LEAST_PX, round(max(x1 - x0, y1 - y0) / BLOCKS)))
    region = canvas[where]
    if track.seen:
        cv2.copyTo(blocks, _grown(track, where, margin), region)
    else:
        region[:] = blocks


def _mosaic(region: Image, side: int) -> Image:
    """The region in squares of `side` pixels, each of one colour."""
    height, width = region.shape[:2]
    size = (max(1, round(width / side)), max(1, round(height / side)))
    small = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _grown(track: Track, where: tuple[slice, slice], margin: int) -> NDArray[np.uint8]:
    """The track's mask there (0 or 1), and `margin` pixels around it."""
    inside = decode_mask(track.mask)[where].view(np.uint8)
    # A dilation whose time does not grow with the margin: how many pixels of the mask are within it.
    side = 2 * margin + 1
    near = cv2.boxFilter(inside, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(near > 0.5).view(np.uint8)
