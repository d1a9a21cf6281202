"""What is sent to programs: JSON texts, one for each frame or event, however they travel.

Owns who gets which text, and that a text is made once for all who want the same. Does not know WebSockets from
Server-Sent Events: see `stream.track_socket` and `stream.sse`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from stream.event_hub import EventHub
from stream.hub import Hub
from stream.selection import Selection
from stream.types import TrackedFrame
from stream.wire import encode

_SELECTIONS = 64
"""So many selections' texts of one frame are kept at most."""


@dataclass(frozen=True, slots=True)
class Message:
    """One JSON text. `number` is by which a subscriber may go on later; None where it starts with the newest."""

    text: str
    number: int | None = None


class Feed(Protocol):
    """An iteration over messages that ends when what it is about ends, or when it is closed."""

    def __aiter__(self) -> Self:
        """Itself."""
        ...

    async def __anext__(self) -> Message:
        """The next message; a call that is cancelled loses none."""
        ...

    def close(self) -> None:
        """End the iteration. Idempotent; never waits."""
        ...


class WireEncoder:
    """Encodes a camera's frame once for each selection, however many subscribers ask for it."""

    def __init__(self) -> None:
        self._frame: TrackedFrame | None = None
        self._texts: dict[Selection, str] = {}

    def text(self, frame: TrackedFrame, selection: Selection) -> str:
        """The JSON text of a frame with what is wanted of it."""
        if frame is not self._frame or len(self._texts) >= _SELECTIONS:
            self._frame, self._texts = frame, {}
        text = self._texts.get(selection)
        if text is None:
            text = self._texts[selection] = encode(selection.of(frame))
        return text


class FrameFeed:
    """The frames of some cameras, newest only: one that is slow skips frames of each camera. Starts with the newest."""

    def __init__(
        self, hubs: Sequence[Hub], encoders: dict[str, WireEncoder], selection: Selection | None = None
    ) -> None:
        # Of the cameras nothing is wanted here: the texts of one are shared with who names it in another way.
        selection = selection or Selection()
        self._selection = Selection(labels=selection.labels, min_score=selection.min_score)
        self._encoders = encoders
        self._wake = asyncio.Event()
        newest = [hub.latest for hub in hubs]
        self._frames = [hub.subscribe(self._wake) for hub in hubs]
        for frames, frame in zip(self._frames, newest, strict=True):
            if frame is not None:
                frames.offer(frame)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while True:
            self._wake.clear()
            for i, frames in enumerate(self._frames):
                if (frame := frames.take()) is not None:
                    # The next time others come first, so that a fast camera does not outrun the rest.
                    self._frames.append(self._frames.pop(i))
                    return Message(self._encoders[frame.camera].text(frame, self._selection))
            if all(frames.closed for frames in self._frames):
                raise StopAsyncIteration
            await self._wake.wait()

    def close(self) -> None:
        """See `Feed`."""
        for frames in self._frames:
            frames.close()


class EventFeed:
    """The events that are wanted, each once and in order; `after`: the number of the last one that was read."""

    def __init__(self, hub: EventHub, selection: Selection, after: int | None = None) -> None:
        self._selection = selection
        self._events = hub.subscribe(after=after)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while True:
            event = await anext(self._events)
            if self._selection.wants_event(event):
                return Message(event.model_dump_json(), event.number)

    def close(self) -> None:
        """See `Feed`."""
        self._events.close()
