"""How far behind a camera's pictures come: later and later, as on a line that carries less than the camera sends.

Owns the comparison of the camera's time with that of arrival. Pure, without a clock.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
"""The earliest of the pictures of so long a time is the one that the others are compared with: a camera's clock that is
slow by a second in a hundred makes 0.6 s of it, and no more however long it runs."""
SLICES = 12
SETTLED_S = 2.0
"""What was held up comes in a burst: it is late for a moment, and is not behind."""


class Lag:
    """Give it every picture of one connection, in order. Times are in seconds; media time grows."""

    def __init__(self) -> None:
        self._earliest: deque[tuple[float, float]] = deque()
        """Of each slice: when it began, its earliest offset."""
        self._behind_since_s: float | None = None

    def of(self, media_s: float, arrival_s: float) -> float:
        """By how many seconds it came later than the earliest of the last minute, as measured by the camera's time."""
        offset_s = arrival_s - media_s
        if not self._earliest or arrival_s - self._earliest[-1][0] >= WINDOW_S / SLICES:
            self._earliest.append((arrival_s, offset_s))
        began_s, earliest_s = self._earliest[-1]
        self._earliest[-1] = (began_s, min(earliest_s, offset_s))
        while arrival_s - self._earliest[0][0] > WINDOW_S:
            self._earliest.popleft()
        return offset_s - min(each for _, each in self._earliest)

    def stays_above(self, limit_s: float, lag_s: float, arrival_s: float) -> bool:
        """Whether the pictures have been that far behind for a while."""
        if lag_s <= limit_s:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = arrival_s
        return self._behind_since_s is not None and arrival_s - self._behind_since_s >= SETTLED_S
