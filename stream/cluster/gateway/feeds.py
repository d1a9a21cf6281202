"""Tracks and events of any cameras, wherever they are: read from their workers, and read on elsewhere when they move.

Owns the connections to workers behind one reader, and that nothing is passed on that is not the owner's: one for each
worker where all cameras are wanted, one for each camera where they are named. A reader notices a move as a pause. Does
not know how the reader is connected: see `stream.track_socket` and `stream.sse`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Set
from typing import Literal, Self

from websockets.exceptions import WebSocketException

from stream.cluster.gateway.directory import Directory
from stream.cluster.gateway.workers import Workers
from stream.cluster.passing import Passing
from stream.feeds import Message

_log = logging.getLogger(__name__)

What = Literal["tracks", "events"]
RETRY_S = 0.2
MOST_EVENTS = 256
"""Events that a slow reader has not read yet; the oldest go first."""
_ORDER = {"tracks": "seq", "events": "number"}


class ClusterFeed:
    """See `stream.feeds.Feed`. `cameras`: empty for all, those that come later too. `query`: as workers are asked, with
    what is wanted of each. `on_stale`: told of each message that came of who has the
    camera no more.
    """

    def __init__(
        self,
        directory: Directory,
        workers: Workers,
        what: What,
        cameras: frozenset[str],
        query: str = "",
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory, self._what, self._query = directory, what, query
        self._workers = workers
        self._named, self._on_stale = cameras, on_stale
        self._pending: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._wake = asyncio.Event()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._passing: defaultdict[str, Passing] = defaultdict(Passing)
        self._closed = False
        self._watching = asyncio.create_task(self._watch(), name=f"{what} of a cluster")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._closed:
            if self._pending:
                _, text = self._pending.popitem(last=False)
                return Message(text)
            if self._watching.done():
                break
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    def close(self) -> None:
        """See `stream.feeds.Feed`."""
        self._closed = True
        self._watching.cancel()
        for task in self._following.values():
            task.cancel()
        self._wake.set()

    async def _watch(self) -> None:
        """Follow the cameras that there are; ends when all that were named are gone."""
        follow = self._follow_camera if self._named else self._follow_worker
        try:
            while True:
                wanted = self._wanted()
                for each in self._following.keys() - wanted:
                    self._following.pop(each).cancel()
                for each in wanted - self._following.keys():
                    self._following[each] = asyncio.create_task(follow(each), name=f"follow {each}")
                if self._named and not wanted:
                    return
                await self._directory.until(lambda: self._wanted() != wanted)  # noqa: B023  # of this round
        finally:
            self._wake.set()

    def _wanted(self) -> Set[str]:
        """What is followed: the cameras that are named and there, or the workers that have any, by address."""
        table = self._directory.table
        if self._named:
            return self._named & table.cameras.keys()
        return {each.address for each in table.workers if each.cameras}

    async def _follow_worker(self, address: str) -> None:
        """All that it has now or gets, so that a camera that moves there needs no connection of its own."""
        while True:
            await self._read(address, f"/api/{self._what}")
            await asyncio.sleep(RETRY_S)

    async def _follow_camera(self, camera: str) -> None:
        path = f"/api/cameras/{camera}/{self._what}"
        while (owner := await self._directory.until_owned(camera)) is not None:
            reading = asyncio.create_task(self._read(owner.address, path))
            moved = asyncio.create_task(self._directory.until_moved(camera, owner.epoch))
            try:
                await asyncio.wait([reading, moved], return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                moved.cancel()
                await asyncio.gather(reading, moved, return_exceptions=True)
            if self._directory.epoch(camera) == owner.epoch:
                await asyncio.sleep(RETRY_S)

    async def _read(self, address: str, path: str) -> None:
        path = f"{path}?{self._query}" if self._query else path
        try:
            async with self._workers.socket(address, path) as socket:
                async for text in socket:
                    self._take(str(text))
        except (OSError, TimeoutError, WebSocketException) as error:
            _log.info("%s%s: %s", address, path, str(error) or type(error).__name__)

    def _take(self, text: str) -> None:
        content = json.loads(text)
        camera, epoch, order = content["camera"], content.get("epoch", 0), content[_ORDER[self._what]]
        if camera not in self._directory.table.cameras:
            self._passing.pop(camera, None)
            return
        current = self._directory.epoch(camera)
        if epoch < current:
            self._on_stale()
        if not self._passing[camera].passes(epoch, order, current):
            return
        key = (camera, order) if self._what == "events" else (camera, 0)
        self._pending[key] = text
        while self._what == "events" and len(self._pending) > MOST_EVENTS:
            self._pending.popitem(last=False)
        self._wake.set()
