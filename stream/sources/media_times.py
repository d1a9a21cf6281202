"""A camera's media time as one that can be relied on: it grows, and about as fast as time passes.

Owns the repair of timestamps that are missing, stand still, jump, run backwards or begin anew. Pure, without a clock.
"""

from __future__ import annotations

LEAP_S = 10.0
"""A step that is longer than the time that has passed by more than this is no pause but another clock. Less is left as
it is: packets that were held up come in a burst."""


class MediaTimes:
    """Give it every picture of one connection, in the order in which they are shown. Where a camera's clock cannot be
    right, time goes on by as much as has passed since the picture before arrived.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._last_arrival_s = 0.0
        self._offset = 0

    def next(self, pts: int | None, tick_s: float, arrival_s: float) -> int:
        """The picture's time, in ticks of `tick_s` seconds, greater than that of the one before. `pts`: the camera's;
        `arrival_s`: when it arrived, in seconds of any clock.
        """
        last, passed_s = self._last, arrival_s - self._last_arrival_s
        self._last_arrival_s = arrival_s
        if last is None:
            self._last = 0 if pts is None else pts
            return self._last
        latest = last + (max(0.0, passed_s) + LEAP_S) / tick_s
        if pts is not None and last < pts + self._offset <= latest:
            self._last = pts + self._offset
            return self._last
        self._last = last + max(1, round(passed_s / tick_s))
        if pts is not None:
            self._offset = self._last - pts
        return self._last
