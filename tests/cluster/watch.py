"""Somebody who reads the tracks of all cameras at a gateway, and remembers what came when."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from stream.client import subscribe
from stream.sources import ReconnectPolicy


@dataclass(frozen=True)
class Result:
    """One message of one camera, and when it came, by the monotonic clock."""

    at_s: float
    epoch: int
    seq: int
    ids: frozenset[int]


@dataclass
class Watch:
    """`results`: by camera, in the order in which they came."""

    results: dict[str, list[Result]] = field(default_factory=dict)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    def newest(self, camera: str) -> Result:
        """Raises KeyError before the first."""
        return self.results[camera][-1]

    def after(self, camera: str, at_s: float, epoch: int = 0) -> list[Result]:
        """What came of a camera after a time, of later epochs than this."""
        return [each for each in self.results.get(camera, []) if each.at_s > at_s and each.epoch > epoch]

    def wrong(self) -> int:
        """Results that are not after the one before: there twice, or out of order."""
        return sum(
            (b.epoch, b.seq) <= (a.epoch, a.seq)
            for results in self.results.values()
            for a, b in pairwise(results)
        )

    async def until(self, true: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for what is to come. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self.came:
            await self.came.wait_for(true)

    async def read(self, address: str) -> None:
        """For ever; a gateway that is gone is asked again as programs do."""
        retry = ReconnectPolicy(initial_delay_s=0.2, max_delay_s=0.5, healthy_after_s=1.0)
        async for frame in subscribe(address, retry=retry):
            ids = frozenset(track.id for track in frame.tracks if track.state == "confirmed")
            result = Result(time.monotonic(), frame.epoch or 0, frame.seq, ids)
            self.results.setdefault(frame.camera, []).append(result)
            async with self.came:
                self.came.notify_all()


@asynccontextmanager
async def watching(address: str) -> AsyncIterator[Watch]:
    """Read while inside."""
    watch = Watch()
    reading = asyncio.create_task(watch.read(address), name="watch a gateway")
    try:
        yield watch
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
