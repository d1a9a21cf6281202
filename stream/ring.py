"""A bounded buffer between one producer on the event loop and one consumer, which may be on another thread.

Owns the choice between losing and waiting: a live camera cannot wait, so a full buffer drops its oldest item
and counts it; a file can, so a lossless buffer holds its producer back. Does not know what the items are.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

OVERLOAD = "overload"
"""Cause of a drop: the consumer is slower than the camera."""
CLOSING = "closing"
"""Cause of a drop: still waiting, or offered, when the buffer was closed for good."""


class RingBuffer(Generic[T]):
    """Holds at most `capacity` items, oldest first.

    Invariant: items put = items taken + items dropped + items held. `lossless=False`: `put` never waits and
    drops the oldest item when full. `lossless=True`: `put` waits for room. `on_drop(cause, count)` is told
    every drop, on the event loop's thread. All but `take` belong to that thread.
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
        self._lock = threading.Lock()
        self._items: deque[T] = deque()
        self._dropped: Counter[str] = Counter()
        self._lost = False
        self._closed = False
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

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
        if self.lossless:
            await self._until(lambda: self._closed or len(self._items) < self.capacity)
        if self._closed:
            self._drop(CLOSING, 1)
            return
        with self._lock:
            full = len(self._items) == self.capacity
            if full:
                self._items.popleft()
                self._lost = True
            self._items.append(item)
        if full:
            self._drop(OVERLOAD, 1)
        self._changed.set()

    async def wait(self, count: int = 1) -> bool:
        """Wait until so many items are held, or it is closed; False once it is closed and empty."""
        await self._until(lambda: self._closed or len(self._items) >= min(count, self.capacity))
        return bool(self._items)

    def take(self, most: int, newest: int) -> tuple[list[T], bool]:
        """At most `most` of the items, the oldest, in order; but if any were lost since the last time, only so many of
        the `newest`, and those before them are dropped too. And whether that was so. On any thread, without waiting.
        """
        with self._lock:
            behind, self._lost = self._lost, False
            passed_over = max(0, len(self._items) - newest) if behind else 0
            for _ in range(passed_over):
                self._items.popleft()
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        loop = self._loop
        if loop is not None:  # nobody waits where nobody ever has
            loop.call_soon_threadsafe(self._tell_taken, passed_over)
        elif passed_over:
            self._drop(OVERLOAD, passed_over)
        return taken, behind

    async def close(self, *, discard: bool = False) -> None:
        """Take no more items. The consumer still gets those held, unless `discard` drops them. Idempotent."""
        with self._lock:
            self._closed = True
            discarded = len(self._items) if discard else 0
            if discard:
                self._items.clear()
        if discarded:
            self._drop(CLOSING, discarded)
        self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        while not ready():
            self._changed.clear()
            await self._changed.wait()

    def _tell_taken(self, passed_over: int) -> None:
        if passed_over:
            self._drop(OVERLOAD, passed_over)
        self._changed.set()

    def _drop(self, cause: str, count: int) -> None:
        self._dropped[cause] += count
        if self._on_drop is not None:
            self._on_drop(cause, count)
