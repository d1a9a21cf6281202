"""Fan-out of one camera's tracked frames to its subscribers.

Owns the newest frame and one slot for each subscriber. A subscriber that is slow skips frames, and only it
does: publishing never waits for anybody. Does not know who subscribes (a WebSocket, a WebRTC peer, a file).
Everything here runs on the event loop's thread; there are no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from stream.types import TrackedFrame


class Subscription:
    """What one subscriber reads: `async with hub.subscribe() as frames: async for frame in frames: ...`.

    Latest-only: it holds at most one frame that was not read yet; `dropped` counts those that a newer one
    replaced. The iteration ends when the hub or the subscription is closed; a frame still pending then is not
    handed out. One task iterates at a time.
    """

    def __init__(self, on_close: Callable[[Subscription], None], wake: asyncio.Event | None = None) -> None:
        self._on_close = on_close
        self._pending: TrackedFrame | None = None
        self._wake = wake or asyncio.Event()
        self._closed = False
        self.dropped = 0

    @property
    def closed(self) -> bool:
        """True once no further frame can come."""
        return self._closed

    def offer(self, frame: TrackedFrame) -> None:
        """Called by the hub: make `frame` the next one to be read."""
        if self._closed:
            return
        if self._pending is not None:
            self.dropped += 1
        self._pending = frame
        self._wake.set()

    def take(self) -> TrackedFrame | None:
        """The frame that was not read yet, or None; never waits."""
        frame, self._pending = self._pending, None
        return frame

    def close(self) -> None:
        """End the iteration and leave the hub. Idempotent; never waits."""
        if self._closed:
            return
        self._closed = True
        self._pending = None
        self._wake.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TrackedFrame:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if (frame := self.take()) is not None:
                return frame
            self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Listener = Callable[[TrackedFrame | None], None]


class Hub:
    """Hands each tracked frame of one camera to every subscriber, latest-only.

    `clock` gives Unix time in seconds for `TrackedFrame.published_at_s`. `on_subscribers` is told the number
    of subscribers whenever it changes.
    """

    def __init__(
        self,
        camera: str,
        *,
        clock: Callable[[], float] = time.time,
        on_subscribers: Callable[[int], None] | None = None,
    ) -> None:
        self.camera = camera
        self._clock = clock
        self._on_subscribers = on_subscribers
        self._subscriptions: set[Subscription] = set()
        self._listeners: set[Listener] = set()
        self._latest: TrackedFrame | None = None
        self._closed = False

    @property
    def latest(self) -> TrackedFrame | None:
        """The frame published last, or None before the first."""
        return self._latest

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    def publish(self, frame: TrackedFrame) -> TrackedFrame:
        """Stamp `published_at_s`, offer the frame to every subscriber, return it. Never waits."""
        stamped = replace(frame, published_at_s=self._clock())
        self._latest = stamped
        for subscription in tuple(self._subscriptions):
            subscription.offer(stamped)
        for listener in tuple(self._listeners):
            listener(stamped)
        return stamped

    def listen(self, listener: Listener) -> None:
        """From now on call `listener` with every frame, and with None when the hub closes.

        It must neither block nor raise.
        """
        self._listeners.add(listener)
        if self._closed:
            listener(None)

    def unlisten(self, listener: Listener) -> None:
        """Call it no more. Idempotent."""
        self._listeners.discard(listener)

    def subscribe(self, wake: asyncio.Event | None = None) -> Subscription:
        """Open a subscription; it starts with the next frame published. Close it, or use `async with`.

        `wake` is set whenever there is something to read or to end, for who waits for several hubs at once.
        """
        subscription = Subscription(self._leave, wake)
        if self._closed:
            subscription.close()
            return subscription
        self._subscriptions.add(subscription)
        self._tell()
        return subscription

    def close(self) -> None:
        """End every iteration. Later subscriptions end at once. Idempotent."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
        for listener in tuple(self._listeners):
            listener(None)

    def _leave(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.discard(subscription)
            self._tell()

    def _tell(self) -> None:
        if self._on_subscribers is not None:
            self._on_subscribers(len(self._subscriptions))
