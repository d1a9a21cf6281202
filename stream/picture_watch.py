"""What the pictures themselves say about a stream: that the scene was cut, that the picture is frozen.

Looks at a few thousand pixels of each frame, read in place; pure, without a clock: time is what the frames say.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.types import DAMAGED, Frame

PictureFlag = Literal["cut", "stale"]

ROWS, COLUMNS = 36, 64
MEMORY = 0.9
"""Of the usual difference from frame to frame, what is kept when a new one comes in."""
USUAL_TIMES = 4.0
"""A cut differs by so many times more than is usual: fast motion and noise differ every time."""


class PictureWatch:
    """Flags for the frames of one camera, in order.

    "cut": the picture differs from the one before by more than `cut_difference` (mean of the absolute differences of
    pixel values, 0 to 255), and by far more than pictures have of late. "stale": for at least `stale_s` seconds no
    pixel that is looked at has changed, which no camera's sensor does. Damaged pictures are compared with none. Raises
    ValueError when a limit is not above 0.
    """

    def __init__(self, *, cut_difference: float = 40.0, stale_s: float = 2.0) -> None:
        for name, value in (("cut_difference", cut_difference), ("stale_s", stale_s)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0, not {value:g}")
        self._cut_difference, self._stale_s = cut_difference, stale_s
        self._last: NDArray[np.int16] | None = None
        self._usual = 0.0
        self._still_since_s: float | None = None

    def look(self, frame: Frame) -> PictureFlag | None:
        """What the next frame's picture says."""
        sample = self._sample(frame)
        last, self._last = self._last, None if DAMAGED in frame.flags else sample
        if self._last is None:  # what was lost of it says nothing of the scene
            return None
        if last is None or last.shape != sample.shape or frame.discontinuity:
            self._still_since_s = None
            return None
        difference = float(np.abs(sample - last).mean())
        if difference == 0.0:
            if self._still_since_s is None:
                self._still_since_s = frame.captured_at_s
            return "stale" if frame.captured_at_s - self._still_since_s >= self._stale_s else None
        self._still_since_s = None
        cut = difference > max(self._cut_difference, USUAL_TIMES * self._usual)
        if not cut:  # a cut says nothing about the motion in the scenes on either side
            self._usual = MEMORY * self._usual + (1 - MEMORY) * difference
        return "cut" if cut else None

    @staticmethod
    def _sample(frame: Frame) -> NDArray[np.int16]:
        height, width = frame.image.shape[:2]
        rows, columns = max(1, height // ROWS), max(1, width // COLUMNS)
        return frame.image[rows // 2 :: rows, columns // 2 :: columns].astype(np.int16)
