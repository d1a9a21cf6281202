"""Which results a gateway passes on: of who has the camera now, each once, in order.

Owns the rule, for one reader of one camera. Pure.
"""

from __future__ import annotations


class Passing:
    """`order`: what counts within an epoch, a frame's `seq` or an event's `number`."""

    def __init__(self) -> None:
        self._last = (0, -1)

    def passes(self, epoch: int, order: int, current: int) -> bool:
        """Whether a result may be passed on, where `current` is the epoch that the camera is known to be in: nothing
        that is older, nothing before what was passed on already.
        """
        if epoch < current or (epoch, order) <= self._last:
            return False
        self._last = (epoch, order)
        return True
