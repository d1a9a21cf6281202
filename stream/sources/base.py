"""The interface of every source of frames, and its options. Knows no kind of source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from stream.types import Frame

DropCallback = Callable[[str, int], None]
"""Told (cause, how many) of frames that a source gave up: "reader_backlog", "opening", "corrupt"."""


def ignore_drops(_cause: str, _count: int) -> None:
    """The drop callback of a source that nobody observes."""


class SourceOptions(BaseModel):
    """How live sources are opened. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """A server that has not described its stream by then is unavailable."""
    read_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """A camera that has sent no picture for so long is unavailable."""
    keyframe_timeout_s: float = Field(default=15.0, gt=0, le=300)
    """How long the first picture may take after opening: cameras with rare key frames need many seconds."""
    max_lag_s: float | None = Field(default=None, gt=0, le=600)
    """A camera whose pictures come ever later (a line that is too slow) is opened again when they are so late, rather
    than shown as it was. None: never; a camera may be thought late only because its clock is slow, by a tenth or more.
    """
    udp_buffer_bytes: int = Field(default=1 << 20, ge=1 << 14, le=1 << 26)
    """The socket's receive buffer with UDP: a key frame arrives as one burst."""


class FrameIterator(Protocol):
    """Frames, and the end of them: what `async for` and `contextlib.aclosing` need."""

    def __aiter__(self) -> AsyncIterator[Frame]: ...

    async def __anext__(self) -> Frame: ...

    async def aclose(self) -> None: ...


class Source(Protocol):
    """One way to one camera. `frames` is called once; a source that ended or failed is not used again."""

    camera: str
    live: bool
    """Whether opening it again makes sense when it ends or fails."""
    on_drop: DropCallback

    def frames(self) -> FrameIterator:
        """One connection: its frames, `seq` from 0, until the media ends.

        Raises the subclasses of StreamError when it cannot be opened or fails on the way.
        """
        ...

    async def close(self) -> None:
        """End it, at any time and as often as wanted.

        Returns within about two seconds and leaves no process, thread, file descriptor or shared memory.
        """
        ...


class IteratedSource(ABC):
    """A source that is its own iterator.

    Not an async generator: one generator inside another (the supervisor's) cannot be closed in peace by an
    event loop that shuts down, which closes all that it knows at once.
    """

    def frames(self) -> Self:
        """See `Source`."""
        return self

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Frame: ...

    @abstractmethod
    async def close(self) -> None:
        """See `Source`."""

    async def aclose(self) -> None:
        """The same as `close`, by the name that iterators have for it."""
        await self.close()
