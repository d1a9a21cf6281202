"""The synthetic camera: the synthetic world, rendered in a thread. The ground truth stays behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

from stream.sources.base import DropCallback, IteratedSource, ignore_drops
from stream.sources.pacing import Pacer
from stream.sources.thread_feed import ThreadFeed
from stream.sources.urls import SyntheticAddress
from stream.types import Frame
from syncvis_online.data.synthetic import SyntheticWorld, load_level

_TIME_BASE = Fraction(1, 90000)


class SyntheticSource(IteratedSource):
    """One run of a synthetic camera. See `Source`."""

    def __init__(self, camera: str, address: SyntheticAddress, *, realtime: bool) -> None:
        self.camera = camera
        self.live = realtime and address.frames is None
        self.on_drop: DropCallback = ignore_drops
        self._address, self._realtime = address, realtime
        self._level = load_level(address.level)
        self._feed: ThreadFeed[Frame] = ThreadFeed(
            self._render, on_drop=(lambda count: self.on_drop("reader_backlog", count)) if realtime else None
        )

    async def __anext__(self) -> Frame:
        return await anext(self._feed)

    def _render(self, stop: threading.Event) -> Iterator[Frame]:
        address = self._address
        size = None if address.size is None else (address.size[1], address.size[0])
        world = SyntheticWorld(self._level, address.seed, fps=address.fps, size=size)
        pacer = Pacer(stop, realtime=self._realtime)
        seq = 0
        while not stop.is_set() and (address.frames is None or seq < address.frames):
            rendered = world.step(masks=False)
            yield Frame(
                camera=self.camera,
                seq=seq,
                pts=round(rendered.time_s / _TIME_BASE),
                time_base=_TIME_BASE,
                captured_at_s=pacer.captured_at(rendered.time_s),
                image=rendered.image,
                clock="arrival" if self._realtime else "media",
            )
            seq += 1

    async def close(self) -> None:
        """End the thread; see `Source`."""
        await self._feed.close()
