"""A bounded buffer between one producer and one consumer on the event loop.

Owns the choice between losing and waiting: a live camera cannot wait, so a full buffer drops its oldest item
and counts it; a file can, so a lossless buffer holds its producer back. Does not know what the items are.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

RING_FULL = "ring_full"
"""Cause of a drop: the consumer is slower than the camera."""
CLOSING = "closing"
"""Cause of a drop: still waiting, or offered, when the buffer was closed for good."""


class RingBuffer(Generic[T]):
    """Holds at most `capacity` items, oldest first.

    Invariant: items put = items got + items dropped + items held. `lossless=False`: `put` never waits and
    drops the oldest item when full. `lossless=True`: `put` waits for room. `on_drop(cause, count)` is told
    every drop.
    """

    def __init__(
        self,
        capacity: int,
        *,
        lossless: bool = False,
        on_drop: Callable[[str, int], None] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a ring buffer holds at least one item, not {capacity}")
        self.capacity = capacity
        self.lossless = lossless
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._dropped: Counter[str] = Counter()
        self._closed = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def fill_ratio(self) -> float:
        """How full it is, 0 to 1."""
        return len(self._items) / self.capacity

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many items were dropped, by cause."""
        return dict(self._dropped)

    async def put(self, item: T) -> None:
        """Add the newest item. Waits only when lossless and full; after close() the item is dropped as
        "closing".
        """
        async with self._changed:
            if self.lossless:
                await self._changed.wait_for(lambda: self._closed or len(self._items) < self.capacity)
            if self._closed:
                self._drop(CLOSING, 1)
                return
            if len(self._items) == self.capacity:
                self._items.popleft()
                self._drop(RING_FULL, 1)
            self._items.append(item)
            self._changed.notify_all()

    async def get(self) -> T | None:
        """Take the oldest item; waits for one. None once the buffer is closed and empty."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or bool(self._items))
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    async def close(self, *, discard: bool = False) -> None:
        """Take no more items. The consumer still gets those held, unless `discard` drops them. Idempotent."""
        async with self._changed:
            self._closed = True
            if discard and self._items:
                self._drop(CLOSING, len(self._items))
                self._items.clear()
            self._changed.notify_all()

    def _drop(self, cause: str, count: int) -> None:
        self._dropped[cause] += count
        if self._on_drop is not None:
            self._on_drop(cause, count)
