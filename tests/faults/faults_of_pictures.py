"""What cameras do to their pictures and to their times."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from tests.faults.stage import Victim
from tests.faults.trial import USUAL, Fault
from tests.support.rtp_faults import Restarted, Retimed

STILL = replace(USUAL, still=True)
SMALLER = replace(USUAL, width=256, height=160)


async def frozen(victim: Victim) -> AsyncGenerator[None]:
    """Its encoder hangs: it sends one picture again and again."""
    await victim.switch(STILL)
    yield
    await victim.switch(USUAL)


async def resized(victim: Victim) -> AsyncGenerator[None]:
    """Another size, in mid-stream, and the old one again."""
    await victim.switch(SMALLER)
    yield
    await victim.switch(USUAL)


async def jumped(victim: Victim) -> AsyncGenerator[None]:
    """Its clock is set an hour ahead, and back."""
    victim.proxy.rtp = Retimed(jump_s=3600)
    yield
    victim.proxy.rtp = bytes


async def backwards(victim: Victim) -> AsyncGenerator[None]:
    """Its timestamps run backwards."""
    victim.proxy.rtp = Retimed(rate=-1)
    yield
    victim.proxy.rtp = bytes


async def restarted(victim: Victim) -> AsyncGenerator[None]:
    """Its timestamps begin with 0 again."""
    victim.proxy.rtp = Restarted()
    yield
    victim.proxy.rtp = bytes


async def fast(victim: Victim) -> AsyncGenerator[None]:
    """Its clock runs ahead, a second in a hundred."""
    victim.proxy.rtp = Retimed(rate=1.01)
    yield
    victim.proxy.rtp = bytes


FPS = {"fps": 10}

FAULTS = (
    Fault("picture frozen for 8 s", frozen, 8, brief_s=6, later=(STILL,)),
    Fault("another picture size in mid-stream", resized, 4, later=(SMALLER,)),
    Fault("timestamps jump an hour ahead, and back", jumped, 5, seen=False),
    Fault("timestamps run backwards for 8 s", backwards, 8, seen=False),
    Fault(
        "timestamps run backwards, 10 of 25 pictures a second wanted", backwards, 8, seen=False, setting=FPS
    ),
    Fault("timestamps begin with 0 again", restarted, 5, seen=False),
    Fault("clock 1 % fast for 60 s", fast, 60, seen=False),
)
