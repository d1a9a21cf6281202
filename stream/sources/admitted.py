"""A source that asks before it connects.

Owns the order: nothing is opened before `Admission.before` has returned. Does not know what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from stream.sources.base import DropCallback, FrameIterator, IteratedSource, Source
from stream.types import Frame


@dataclass(frozen=True, slots=True)
class Admission:
    """Both raise StreamError where there must be no connection. `before`: asked before there is one; `peers`: told to
    which addresses there is one, before anything of what came over it is used.
    """

    before: Callable[[], Awaitable[None]]
    peers: Callable[[Sequence[str]], None]


class AdmittedSource(IteratedSource):
    """Another source, whose frames are there only once its admission has let it. See `Source`."""

    def __init__(self, source: Source, admission: Admission) -> None:
        self.camera, self.live = source.camera, source.live
        self._source, self._admit = source, admission.before
        self._frames: FrameIterator | None = None

    @property
    def on_drop(self) -> DropCallback:
        """See `Source`."""
        return self._source.on_drop

    @on_drop.setter
    def on_drop(self, tell: DropCallback) -> None:
        self._source.on_drop = tell

    async def __anext__(self) -> Frame:
        if self._frames is None:
            await self._admit()
            self._frames = self._source.frames()
        return await anext(self._frames)

    async def close(self) -> None:
        """See `Source`."""
        if self._frames is not None:
            await self._frames.aclose()
        await self._source.close()
