"""The newest values of something, for figures over the last seconds. Bounded in time and in number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Recent:
    """Values of the last `window_s` seconds, the newest `most` of them. `monotonic` gives seconds."""

    def __init__(self, window_s: float, most: int, monotonic: Callable[[], float]) -> None:
        self._window_s, self._monotonic = window_s, monotonic
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, value: float) -> None:
        """One more, now."""
        self._values.append((self._monotonic(), value))

    def quantile(self, share: float) -> float | None:
        """By nearest rank; None where there is none."""
        since_s = self._monotonic() - self._window_s
        ordered = sorted(value for at_s, value in self._values if at_s >= since_s)
        if not ordered:
            return None
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
