"""What a bad network, or a bad camera, does to RTP packets (RFC 3550): one small function of a packet each.

All are deterministic. Each is given the packets of one camera in order and gives what arrives; None: it is lost.
"""

from __future__ import annotations

import random

HEADER_BYTES = 12
TICKS_PER_S = 90_000
"""Of the RTP clock of video."""


class Lossy:
    """Loses that share of the packets."""

    def __init__(self, share: float, seed: int = 7) -> None:
        self._share, self._random = share, random.Random(seed)
        self.lost = 0

    def __call__(self, packet: bytes) -> bytes | None:
        if self._random.random() >= self._share:
            return packet
        self.lost += 1
        return None


class Corrupting:
    """Turns one bit in that share of the packets, somewhere behind the header."""

    def __init__(self, share: float, seed: int = 7) -> None:
        self._share, self._random = share, random.Random(seed)

    def __call__(self, packet: bytes) -> bytes:
        if self._random.random() >= self._share or len(packet) <= HEADER_BYTES + 4:
            return packet
        changed = bytearray(packet)
        changed[self._random.randrange(HEADER_BYTES + 4, len(packet))] ^= 1 << self._random.randrange(8)
        return bytes(changed)


class Retimed:
    """Timestamps of another clock: of the first packet's, `jump_s` later, and running `rate` times as fast."""

    def __init__(self, *, rate: float = 1.0, jump_s: float = 0.0) -> None:
        self._rate, self._jump = rate, round(jump_s * TICKS_PER_S)
        self._first: int | None = None

    def __call__(self, packet: bytes) -> bytes:
        now = int.from_bytes(packet[4:8])
        self._first = now if self._first is None else self._first
        passed = (now - self._first + 2**31) % 2**32 - 2**31
        then = (self._first + self._jump + round(passed * self._rate)) % 2**32
        return packet[:4] + then.to_bytes(4) + packet[8:]


class Restarted:
    """Timestamps that begin with 0 again, as those of a camera whose clock was reset."""

    def __init__(self) -> None:
        self._first: int | None = None

    def __call__(self, packet: bytes) -> bytes:
        now = int.from_bytes(packet[4:8])
        self._first = now if self._first is None else self._first
        return packet[:4] + ((now - self._first) % 2**32).to_bytes(4) + packet[8:]
