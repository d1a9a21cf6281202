"""The memory of a process that runs for months: what is done with is found soon, and goes back to the system.

Garbage. A WebRTC session that has ended is a knot of a thousand objects that refer to each other, with 2 MB of buffers
and OpenSSL's state behind them; only a collection of the oldest generation frees it. CPython begins one for every
70,000 objects that came and stayed, that is fifty sessions or 100 MB, and then stops every thread while it looks
through the quarter of a million that PyTorch and the other libraries made (see `gc` in the standard library).

The heap. glibc gives each new thread a heap of its own, up to eight a processor, and keeps in it what was freed; with
cameras and viewers that come and go these grew by tens of megabytes an hour (see mallopt(3), malloc_trim(3)). Where the
C library is another one, that part does nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

OLDEST_EVERY = 2
"""Collections of the generation before (7000 objects that came and stayed) to one of the oldest; CPython's is 10."""
HEAPS = 2
TRIM_EVERY_S = 10.0
_M_ARENA_MAX = -8


def share_heaps() -> None:
    """Let all threads share a few heaps. Call it before there are threads."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def settle() -> int:
    """Have the collector look at what comes from now on, often, and no more at what is there; returns how many objects
    that is. Call it once, when all is set up; blocks for as long as a full collection takes.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts anew how much is old, of which a quarter has to come before the oldest are looked at
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLDEST_EVERY)
    return gc.get_freeze_count()


def trim() -> None:
    """Give the system back all whole pages that are free. Other threads run meanwhile, but for those that allocate."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@asynccontextmanager
async def trimmed(every_s: float = TRIM_EVERY_S) -> AsyncIterator[None]:
    """While inside, what is free is given back now and then."""
    task = asyncio.create_task(_trim_for_ever(every_s), name="trim memory")
    try:
        yield
    finally:  # not a task group: what ends the service must come out as it is
        task.cancel()
        await asyncio.wait([task])


async def _trim_for_ever(every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim)
