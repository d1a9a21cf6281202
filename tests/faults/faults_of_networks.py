"""What networks do."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

from tests.faults import names
from tests.faults.stage import Clip, Victim
from tests.faults.trial import Fault
from tests.support.rtp_faults import Corrupting, Lossy

LONG = Clip(width=160, height=96, seconds=40.96)
"""So long that a delay of many seconds is not taken for a short one."""
UDP = {"transport": "udp"}


async def cut(victim: Victim) -> AsyncGenerator[None]:
    """A router has forgotten the connection."""
    victim.proxy.cut()
    yield


async def unplugged(victim: Victim) -> AsyncGenerator[None]:
    """Nothing gets through, and nobody is told."""
    victim.proxy.silent = True
    yield
    victim.proxy.silent = False


async def delayed(victim: Victim) -> AsyncGenerator[None]:
    """Everything takes longer."""
    victim.proxy.delay_s = 0.3
    yield
    victim.proxy.delay_s = 0.0


async def throttled(victim: Victim) -> AsyncGenerator[None]:
    """The line carries a third of what the camera sends."""
    victim.proxy.bytes_per_s = victim.bytes_per_s / 3
    yield
    victim.proxy.bytes_per_s = None


async def corrupt(victim: Victim) -> AsyncGenerator[None]:
    """Bits of the pictures are turned."""
    victim.proxy.rtp = Corrupting(0.1)
    yield
    victim.proxy.rtp = bytes


async def garbled(victim: Victim) -> AsyncGenerator[None]:
    """Bytes of the connection are wrong: the lengths between the packets among them."""
    chosen = random.Random(7)

    def garble(data: bytes) -> bytes:
        changed = bytearray(data)
        if chosen.random() < 0.05:
            changed[chosen.randrange(min(4, len(changed)))] ^= 0xFF
        return bytes(changed)

    victim.proxy.garble = garble
    yield
    victim.proxy.garble = bytes


async def lossy(victim: Victim) -> AsyncGenerator[None]:
    """Packets are lost on UDP."""
    victim.proxy.rtp = losses = Lossy(0.05)
    yield
    victim.proxy.rtp = bytes
    victim.notes.append(f"{losses.lost} packets lost")


async def nameless(victim: Victim) -> AsyncGenerator[None]:
    """Its name is known no more, and its connection is cut."""
    names.set_known(False)
    victim.proxy.cut()
    yield
    names.set_known(True)


FAULTS = (
    Fault("TCP connection cut by a reset", cut, 2, brief_s=0.5),
    Fault("cable pulled for 12 s: TCP, nobody is told", unplugged, 12),
    Fault("cable pulled for 12 s: UDP", unplugged, 12, setting=UDP),
    Fault("network 300 ms slower, then as before", delayed, 5, seen=False),
    Fault("throttled to a third of the camera's rate for 20 s", throttled, 20, clip=LONG),
    Fault("the same, with max_lag_s: 3", throttled, 20, clip=LONG, setting={"max_lag_s": 3}),
    Fault("a bit wrong in 10 % of the packets", corrupt, 10),
    Fault("bytes of the TCP connection wrong, framing too", garbled, 10),
    Fault("5 % of the packets lost on UDP", lossy, 10, brief_s=3, setting=UDP),
    Fault("host name not known for 5 s", nameless, 5, setting={"host": names.HOST}, needs_names=True),
)
