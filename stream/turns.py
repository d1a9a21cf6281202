"""Whose turn it is: which of the cameras that have frames waiting the engine answers next.

Pure, without a thread; the clock is passed in. Does not know what a camera does with its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STARVED_S = 1.0
"""Who has waited for so long goes first, whatever its priority: every camera is answered about once a second, as far
as there is time for that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """That a camera wants its turn since `at_s`; the higher `priority`, the sooner."""

    priority: int
    at_s: float


class Turns:
    """The order among cameras: who is starved; then the higher priority; among equals who was served longest ago."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._count = 0

    def next(self, asking: Mapping[str, Asked], now_s: float) -> str:
        """The camera whose turn it is, of those that ask: at least one. It counts as served from now on."""
        starved = {name: asked for name, asked in asking.items() if now_s - asked.at_s >= STARVED_S}
        if starved:
            camera = min(starved, key=lambda name: starved[name].at_s)
        else:
            camera = min(
                asking,
                key=lambda name: (-asking[name].priority, self._served.get(name, 0), asking[name].at_s),
            )
        self._count += 1
        self._served[camera] = self._count
        return camera

    def forget(self, camera: str) -> None:
        """The camera is there no more. Idempotent."""
        self._served.pop(camera, None)
