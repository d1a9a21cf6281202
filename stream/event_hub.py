"""Fan-out of events to their subscribers, of all cameras together.

Owns their numbers, the newest of them, and one bounded queue for each subscriber: unlike frames, each event counts. A
subscriber that is so slow that its queue is full loses the oldest, counted, and sees it by the numbers; publishing
never waits for anybody. Everything here runs on the event loop's thread; there are no locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from stream.events import TrackEvent

QUEUE_EVENTS = 256
"""How many events may wait for a subscriber."""

HISTORY_EVENTS = 256
"""How many of the newest are kept, for those who ask what happened and for those who come back."""


class EventSubscription:
    """What one subscriber reads: `async with hub.subscribe() as events: async for event in events: ...`.

    `dropped` counts what it was too slow for. Events that wait when the hub closes are still handed out. One task
    iterates at a time.
    """

    def __init__(
        self,
        on_close: Callable[[EventSubscription], None],
        capacity: int,
        on_drop: Callable[[], None],
    ) -> None:
        self._on_close = on_close
        self._on_drop = on_drop
        self._waiting: deque[TrackEvent] = deque()
        self._capacity = capacity
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many events wait to be read."""
        return len(self._waiting)

    def offer(self, event: TrackEvent) -> None:
        """Called by the hub: append an event; the oldest goes when there is no room."""
        if self._closed:
            return
        if len(self._waiting) == self._capacity:
            self._waiting.popleft()
            self._drop()
        self._waiting.append(event)
        self._wake.set()

    def put_back(self, event: TrackEvent) -> None:
        """An event that was taken and could not be delivered is the next again; it is dropped if there is no room."""
        if len(self._waiting) == self._capacity:
            self._drop()
            return
        self._waiting.appendleft(event)
        self._wake.set()

    def close(self) -> None:
        """Take no more events and leave the hub. Idempotent; never waits."""
        if not self._closed:
            self._closed = True
            self._wake.set()
            self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TrackEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop(self) -> None:
        self.dropped += 1
        self._on_drop()


class EventHub:
    """Numbers each event, keeps the newest, and hands it to every subscriber. `on_drop` is told the kind of subscriber
    that was too slow for an event.
    """

    def __init__(self, on_drop: Callable[[str], None] | None = None) -> None:
        self._on_drop = on_drop or (lambda kind: None)
        self._subscriptions: set[EventSubscription] = set()
        self._history: deque[TrackEvent] = deque(maxlen=HISTORY_EVENTS)
        self._number = 0
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    @property
    def history(self) -> tuple[TrackEvent, ...]:
        """The newest events, oldest first."""
        return tuple(self._history)

    def publish(self, event: TrackEvent) -> TrackEvent:
        """Number the event, offer it to every subscriber, return it. Never waits."""
        self._number += 1
        numbered = event.model_copy(update={"number": self._number})
        self._history.append(numbered)
        for subscription in tuple(self._subscriptions):
            subscription.offer(numbered)
        return numbered

    def subscribe(
        self, *, kind: str = "http", capacity: int = QUEUE_EVENTS, after: int | None = None
    ) -> EventSubscription:
        """Open a subscription; it starts with the next event, or with those kept that come after number `after`.

        A number that was never given (by a server before this one) asks for all that are kept. `kind` names the
        subscriber in metrics.
        """
        subscription = EventSubscription(self._leave, capacity, lambda: self._on_drop(kind))
        if after is not None:
            first = 0 if after > self._number else after
            for event in self._history:
                if event.number > first:
                    subscription.offer(event)
        if self._closed:
            subscription.close()
            return subscription
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every iteration once it has read what waits. Later subscriptions end at once. Idempotent."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _leave(self, subscription: EventSubscription) -> None:
        self._subscriptions.discard(subscription)
