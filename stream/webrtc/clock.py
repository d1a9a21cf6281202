"""Times of pictures for RTP: ticks that grow, whatever the camera's clock does.

Owns how a capture time becomes a tick. Pure arithmetic.
"""

from __future__ import annotations

from stream.webrtc.encoder import NOMINAL_FPS, RTP_CLOCK_HZ

NOMINAL_STEP = RTP_CLOCK_HZ // 30


class RtpClock:
    """Capture times to 90 kHz ticks that start at 0 and always grow.

    Ticks differ as the capture times do, so that the far end can play at the camera's own pace. Where a
    capture time does not grow (the camera's clock was set, or its source changed) the time line goes on one
    nominal frame later and follows the new clock from there.
    """

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._last = -1
        self.fps = float(NOMINAL_FPS)
        """The pace of late."""

    def ticks(self, captured_at_s: float) -> int:
        """The ticks of a picture captured at this Unix time."""
        if self._origin_s is None:
            self._origin_s = captured_at_s
        ticks = round((captured_at_s - self._origin_s) * RTP_CLOCK_HZ)
        if ticks <= self._last:
            ticks = self._last + NOMINAL_STEP
            self._origin_s = captured_at_s - ticks / RTP_CLOCK_HZ
        elif self._last >= 0:
            step_s = min(1.0, (ticks - self._last) / RTP_CLOCK_HZ)
            self.fps = 1.0 / (0.9 / self.fps + 0.1 * step_s)
        self._last = ticks
        return ticks

    def between(self, elapsed_s: float) -> int:
        """The ticks of a picture that is shown again `elapsed_s` later: half of it, so that the next picture, which is
        captured before it is drawn, still comes after.
        """
        self._last += max(1, round(elapsed_s * RTP_CLOCK_HZ / 2))
        return self._last
