"""Makes objects of some classes unrecognisable in the picture itself, before anybody is given it.

Owns how far, how coarsely and for how long. Pure functions of frames, but for who was hidden before. docs/zones.md says
what this cannot promise: an object that the model never found is shown.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.types import TrackedFrame
from syncvis_online.types import Image, Track, decode_mask

BLOCKS = 8
"""An object's longer side is shown as so many blocks: a head is one of them."""

MARGIN = 0.125
"""What is hidden around it, as a share of its longer side: masks are not exact."""

LEAST_PX = 8
"""The least margin, and the least side of a block."""


MISSED_S = 2.0
"""Who is not found on a frame is hidden around where it was found last for so long."""

STRAYS_PER_S = 1.0
"""How much further around it, in its longer sides a second: who walks covers about one of its heights."""

STEP_S = 1.0
"""As much of the time between two frames counts: who is missed on one picture of a slow camera is hidden on it, and a
clock that jumps shows nobody.
"""

FORGET_S = 60.0
"""An id that was not told of for so long does not come back, and need not be known."""


@dataclass(slots=True)
class _Hidden:
    """`box`: where it was found last, x0, y0, x1, y1 as shares of the picture; `missed_s`: seconds since then."""

    box: tuple[float, float, float, float]
    missed_s: float = 0.0


class Blur:
    """`labels`: the classes that are hidden; none: nothing is. Give it every frame of a camera, in order.

    A track that had one of these labels once stays hidden under its id, whatever it is called later. One that is not
    found is hidden around where it was found last, for MISSED_S, and as long as the tracker answers it as lost.
    """

    def __init__(self, labels: Collection[str] = ()) -> None:
        self.labels = frozenset(labels)
        self._hidden: dict[int, _Hidden] = {}
        self._time_s = -math.inf

    @property
    def any(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self.labels)

    def of(self, frame: TrackedFrame) -> TrackedFrame:
        """The frame with another picture, where something on it is to be hidden."""
        self._let_pass(frame.captured_at_s)
        tracks = {t.track_id: t for t in frame.tracks if t.label in self.labels or t.track_id in self._hidden}
        for track in tracks.values():
            if track.seen or track.track_id not in self._hidden:
                self._hidden[track.track_id] = _Hidden(_shares(track.box_xyxy, frame.image))
        due = [(h, tracks.get(i)) for i, h in self._hidden.items() if i in tracks or h.missed_s <= MISSED_S]
        if not due:
            return frame
        image = frame.image.copy()
        for hidden, found in due:
            _hide(image, frame.image, hidden, found if found is not None and found.seen else None)
        return replace(frame, image=image)

    def _let_pass(self, time_s: float) -> None:
        """Up to this frame everybody is missed."""
        passed = min(max(0.0, time_s - self._time_s), STEP_S)
        self._time_s = time_s
        for hidden in self._hidden.values():
            hidden.missed_s += passed
        self._hidden = {i: hidden for i, hidden in self._hidden.items() if hidden.missed_s <= FORGET_S}


def _shares(box_xyxy: tuple[float, ...], image: Image) -> tuple[float, float, float, float]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    return x0 / width, y0 / height, x1 / width, y1 / height


def _hide(canvas: Image, image: Image, hidden: _Hidden, track: Track | None) -> None:
    """Draw the surroundings of a track that is found, or of where it was, on `canvas` as blocks, each the mean of the
    picture there.
    """
    height, width = image.shape[:2]
    x0, x1 = (share * width for share in hidden.box[::2])
    y0, y1 = (share * height for share in hidden.box[1::2])
    longer = max(x1 - x0, y1 - y0)
    margin = max(LEAST_PX, round((MARGIN + STRAYS_PER_S * min(hidden.missed_s, MISSED_S)) * longer))
    left, top = max(0, int(x0) - margin), max(0, int(y0) - margin)
    right, bottom = min(width, int(np.ceil(x1)) + margin), min(height, int(np.ceil(y1)) + margin)
    if left >= right or top >= bottom:
        return
    where = (slice(top, bottom), slice(left, right))
    blocks = _mosaic(image[where], max(LEAST_PX, round(longer / BLOCKS)))
    region = canvas[where]
    if track is not None:
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
