"""What is sent to programs: JSON texts, one for each frame or event, however they travel.

Owns who gets which text, and that a text is made once for all who want the same. Does not know WebSockets from
Server-Sent Events: see `stream.track_socket` and `stream.sse`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, Self
from weakref import WeakKeyDictionary

from stream.cameras import Cameras
from stream.event_hub import EventHub
from stream.hub import Hub, Subscription
from stream.pipeline import CameraPipeline
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


class Encoders:
    """One for each camera, which ends with it."""

    def __init__(self) -> None:
        self._encoders: WeakKeyDictionary[Hub, WireEncoder] = WeakKeyDictionary()

    def of(self, hub: Hub) -> WireEncoder:
        """The encoder of a camera's frames."""
        return self._encoders.setdefault(hub, WireEncoder())


class FrameFeed:
    """The frames of all cameras that are wanted, newest only: one that is slow skips frames of each camera. Starts with
    the newest. Cameras that come later are joined; it ends when those that are named are gone, or the service is.
    """

    def __init__(self, cameras: Cameras, encoders: Encoders, selection: Selection | None = None) -> None:
        self._wanted = selection or Selection()
        # Of the cameras nothing is wanted here: the texts of one are shared with who names it in another way.
        self._selection = Selection(labels=self._wanted.labels, min_score=self._wanted.min_score)
        self._cameras, self._encoders = cameras, encoders
        self._wake = asyncio.Event()
        self._frames: list[tuple[Subscription, WireEncoder]] = []
        self._closed = False
        for camera in cameras.values():
            self.came(camera)
        cameras.watch(self)

    def came(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""
        if not self._wanted.wants_camera(camera.name):
            return
        newest, frames = camera.hub.latest, camera.hub.subscribe(self._wake)
        if newest is not None:
            frames.offer(newest)
        self._frames.append((frames, self._encoders.of(camera.hub)))

    def went(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""
        self._frames = [each for each in self._frames if not each[0].closed]
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._closed:
            self._wake.clear()
            for i, (frames, encoder) in enumerate(self._frames):
                if (frame := frames.take()) is not None:
                    # The next time others come first, so that a fast camera does not outrun the rest.
                    self._frames.append(self._frames.pop(i))
                    return Message(encoder.text(frame, self._selection))
            if self._ended:
                break
            await self._wake.wait()
        raise StopAsyncIteration

    def close(self) -> None:
        """See `Feed`."""
        self._closed = True
        self._cameras.unwatch(self)
        for frames, _ in self._frames:
            frames.close()
        self._wake.set()

    @property
    def _ended(self) -> bool:
        named = self._wanted.cameras
        return self._cameras.closed or bool(named and all(frames.closed for frames, _ in self._frames))


class EventFeed:
    """The events that are wanted, each once and in order; `after`: the number of the last one that was read. It ends
    when the cameras that are named are gone, or the service is.
    """

    def __init__(
        self, cameras: Cameras, hub: EventHub, selection: Selection, after: int | None = None
    ) -> None:
        self._cameras, self._selection = cameras, selection
        self._left = set(selection.cameras)
        self._events = hub.subscribe(after=after)
        cameras.watch(self)

    def came(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""
        if camera.name in self._selection.cameras:
            self._left.add(camera.name)

    def went(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""
        self._left.discard(camera.name)
        if self._selection.cameras and not self._left:
            self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while True:
            event = await anext(self._events)
            if self._selection.wants_event(event):
                return Message(event.model_dump_json(), event.number)

    def close(self) -> None:
        """See `Feed`."""
        self._cameras.unwatch(self)
        self._events.close()
