"""What is taken of a camera's frames before the model sees them: so many a second at most, and a part of the picture.

Owns the choice of frames, evenly by their own times, and the cut. Does not know where frames come from.
"""

from __future__ import annotations

from dataclasses import replace

from stream.types import Frame

BEYOND_FPS = "fps"
"""Cause of a drop: the camera's config wants fewer pictures a second than it sends."""

EARLY = 0.25
"""The most, as a share of a period, that a frame may be early: the one that is nearest to its time is taken."""

Crop = tuple[float, float, float, float]


class Intake:
    """`fps`: the most frames a second, on average, that are taken; None: all. `crop`: left, top, right and bottom of
    the part that is kept, as shares of the picture; None: all of it. Give it every frame, in order.
    """

    def __init__(self, fps: float | None = None, crop: Crop | None = None) -> None:
        self.period_s = 0.0 if fps is None else 1 / fps
        self._crop = crop
        self._due_s: float | None = None
        self._last_s = 0.0

    def of(self, frame: Frame) -> Frame | None:
        """The frame, cut; None where it comes too soon after the one before. The first after a reconnect is taken."""
        if self.period_s and not self._is_due(frame):
            return None
        return frame if self._crop is None else _cut(frame, self._crop)

    def _is_due(self, frame: Frame) -> bool:
        # The media's time, not that of arrival: the network may bring several frames at once.
        now_s = float(frame.pts * frame.time_base)
        due_s = self._due_s
        if due_s is None or frame.discontinuity or now_s < self._last_s:
            due_s = now_s
        early_s = min((now_s - self._last_s) / 2, EARLY * self.period_s)
        self._last_s = now_s
        if now_s < due_s - max(early_s, 0.0):
            return False
        # What a pause has let pass is not made up for.
        self._due_s = max(due_s, now_s - self.period_s / 2) + self.period_s
        return True


def _cut(frame: Frame, crop: Crop) -> Frame:
    height, width = frame.image.shape[:2]
    left, top, right, bottom = (
        round(share * side) for share, side in zip(crop, (width, height, width, height), strict=True)
    )
    part = frame.image[
        min(top, height - 1) : max(bottom, top + 1), min(left, width - 1) : max(right, left + 1)
    ]
    # A copy, so that the rest of the picture is not kept.
    return replace(frame, image=part.copy())
