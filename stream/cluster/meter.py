"""What a worker can do and what its cameras ask for, by what was counted in the last seconds. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

OVER_S = 10.0
"""Rates are of so many seconds."""
LEAST_BUSY_S = 0.2
"""Less work than this says nothing of a worker."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters that only grow: windows answered, seconds at work, and frames that came and were wanted by camera."""

    at_s: float
    windows: float
    busy_s: float
    frames: Mapping[str, float] = field(default_factory=dict)


class Meter:
    """Give it the counters now and then. `stride`: a window for so many frames."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._samples: deque[Counts] = deque()
        self._capacity_wps: float | None = None

    def add(self, counts: Counts) -> None:
        """The counters as of now."""
        self._samples.append(counts)
        while len(self._samples) > 2 and counts.at_s - self._samples[1].at_s >= OVER_S:
            self._samples.popleft()
        windows, busy_s = counts.windows - self._samples[0].windows, counts.busy_s - self._samples[0].busy_s
        if windows > 0 and busy_s >= LEAST_BUSY_S:
            self._capacity_wps = windows / busy_s

    @property
    def capacity_wps(self) -> float | None:
        """Windows a second that the engine answers when it is always at work; None until that is known."""
        return self._capacity_wps

    @property
    def busy(self) -> float:
        """The share of the time in which it was at work, 0 to 1."""
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return min(1.0, max(0.0, (last.busy_s - first.busy_s) / max(1e-9, last.at_s - first.at_s)))

    def demand_wps(self, camera: str) -> float | None:
        """Windows a second that a camera asks for; None until it has sent pictures for a while."""
        known = [(counts.at_s, counts.frames[camera]) for counts in self._samples if camera in counts.frames]
        if len(known) < 2:
            return None
        (began_s, before), (ended_s, after) = known[0], known[-1]
        if ended_s - began_s < 0.2 * OVER_S or after <= before:
            return None
        return (after - before) / (ended_s - began_s) / self._stride
