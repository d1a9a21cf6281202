"""How many bits a second a shared encoder may spend: what each viewer's line takes, and what is made of it.

Owns the policy (docs/whep.md, "Bitrate"). Pure arithmetic on reports; does not know how they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf

FLOOR_BPS = 200_000.0
CEILING_BPS = 4_000_000.0
BITS_PER_PIXEL = 0.15
"""0.86 Mbit/s for 640x360 at 25 a second: what aiortc's own encoder settles at for the same pictures (measured)."""

SENT_WINDOW_S = 1.0
HEADROOM = 1.2
"""A receiver's estimate that is this much above what it was sent says nothing of a limit."""

RECOVERY_PER_S = 1.08
LOSS_HIGH, LOSS_LOW = 0.10, 0.02


class ViewerRate:
    """What one viewer's line takes, by its reports.

    Receivers report an estimate (REMB, draft-alvestrand-rmcat-remb) or the share of packets lost (RFC 3550, receiver
    reports), from which the rate falls and rises as in draft-ietf-rmcat-gcc-02, section 6. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent: deque[tuple[float, int]] = deque()
        self._began = self._raised = clock()
        self.limit_bps = inf
        """Bits a second; infinite while nothing says that there is a limit."""

    def sent(self, size: int) -> None:
        """`size` bytes of a picture were handed to the line."""
        self._sent.append((self._clock(), size))

    @property
    def sent_bps(self) -> float:
        """What was sent in the last second."""
        now = self._clock()
        while self._sent and now - self._sent[0][0] > SENT_WINDOW_S:
            self._sent.popleft()
        span = min(SENT_WINDOW_S, max(now - self._began, 0.25))
        return 8 * sum(size for _, size in self._sent) / span

    def estimated(self, bps: float) -> None:
        """The receiver estimates that its line takes `bps`."""
        if bps < HEADROOM * self.sent_bps:
            self._lower(bps)
        else:
            self._raise()

    def lost(self, share: float) -> None:
        """Since its last report the receiver missed this share of the packets, 0 to 1."""
        if share > LOSS_HIGH:
            self._lower(min(self.limit_bps, self.sent_bps) * (1 - 0.5 * share))
        elif share < LOSS_LOW:
            self._raise()

    def _lower(self, bps: float) -> None:
        self.limit_bps = max(bps, FLOOR_BPS / 4)
        self._raised = self._clock()

    def _raise(self) -> None:
        now = self._clock()
        self.limit_bps *= RECOVERY_PER_S ** (now - self._raised)
        self._raised = now
        if self.limit_bps > CEILING_BPS:
            self.limit_bps = inf


class LossRate(ViewerRate):
    """The same for pictures whose bits are not ours to choose: only packets that are lost say that they are too many.

    An estimate lags behind what a camera sends, and giving a viewer fewer of its pictures would be all that could
    come of it.
    """

    def estimated(self, bps: float) -> None:
        """Says nothing."""


def ceiling_bps(width: int, height: int, fps: float) -> float:
    """The most that pictures of this size are given."""
    return min(CEILING_BPS, max(FLOOR_BPS, BITS_PER_PIXEL * width * height * fps))


def shared_bps(limits: Sequence[float], ceiling: float) -> float:
    """The rate for all: what at least half of the viewers can take, between a floor and the ceiling.

    The others lose pictures (`ViewerQueue.limit_bps`): one slow line does not make everybody's picture soft.
    """
    if not limits:
        return ceiling
    return min(ceiling, max(FLOOR_BPS, sorted(limits)[len(limits) // 2]))
