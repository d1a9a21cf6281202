"""For how long a camera's results may be published by this process, where others could publish them too.

Owns the check, by a clock of this machine's own that no administrator and no time server sets, and that goes on while
the process or the machine is stopped. Does not know who grants the time: see `stream.cluster`.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def boot_time_s() -> float:
    """Seconds since this machine was started, those in which it slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tenure:
    """The right to publish one camera until a time, by `now_s`; who grants it may renew it also after that, until it
    is ended. `epoch` grows with each who has it.
    """

    def __init__(self, epoch: int, until_s: float, now_s: Callable[[], float] = boot_time_s) -> None:
        self.epoch = epoch
        self.ended = False
        self._until_s = until_s
        self._now_s = now_s

    @property
    def holds(self) -> bool:
        """Whether it may be published now."""
        return not self.ended and self._now_s() < self._until_s

    def renew(self, until_s: float) -> None:
        """It lasts until then, unless it was ended."""
        self._until_s = max(self._until_s, until_s)

    def end(self) -> None:
        """It is over, for good. Idempotent."""
        self.ended = True
