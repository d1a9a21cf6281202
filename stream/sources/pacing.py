"""When a frame is due, for sources that have no clock of their own: files and the synthetic camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MAX_LATE_S = 0.1
"""A frame that is ready later than this after it was due was captured when it was ready."""


class Pacer:
    """Turns media time into capture time: real time when it paces, else media time from the start of
    reading.

    When frames cannot be made in time (a slow machine), media time is moved on, once a frame is more than
    MAX_LATE_S late: the media then runs slower than the clock, and no delay builds up.
    """

    def __init__(
        self, stop: threading.Event, *, realtime: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._stop, self._realtime, self._clock = stop, realtime, clock
        self._started_s: float | None = None

    def captured_at(self, media_s: float) -> float:
        """Unix time at which the frame at `media_s` seconds of media was captured; waits for it in real time.

        The first frame is captured now, the others as much later as their media time says.
        """
        if self._started_s is None:
            self._started_s = self._clock() - media_s
        due_s = self._started_s + media_s
        if self._realtime:
            late_s = self._clock() - due_s
            if late_s > MAX_LATE_S:
                self._started_s += late_s
                return due_s + late_s
            self._stop.wait(max(0.0, due_s - self._clock()))
        return due_s
