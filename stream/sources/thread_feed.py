"""From an iterator in a worker thread to an async iterator, through a bounded queue.

Owns the thread and the hand-over. Knows nothing about what is handed over.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_JOIN_TIMEOUT_S = 2.0


class ThreadFeed(Generic[T]):
    """Runs `produce(stop)` in a thread and hands its items over, at most `capacity` of them waiting.

    Without `on_drop` a full queue makes the producer wait: the consumer sets the pace. With it, the oldest
    waiting item is dropped and told: the producer sets the pace. `stop` is set when the feed is closed; a
    producer that waits must wait on it.
    """

    def __init__(
        self,
        produce: Callable[[threading.Event], Iterator[T]],
        *,
        capacity: int = 4,
        on_drop: Callable[[int], None] | None = None,
    ) -> None:
        self._produce, self._capacity, self._on_drop = produce, capacity, on_drop
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._dropped = 0
        self._ended = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next item; raises what the producer raised, once its items are gone. Ends when closed."""
        try:
            return await self._next()
        except BaseException:
            await self.close()
            raise

    async def _next(self) -> T:
        self._start()
        while True:
            self._wake.clear()
            ended = self._ended  # before taking: the last item is put before the end is told
            item, dropped = self._take()
            if dropped and self._on_drop is not None:
                self._on_drop(dropped)
            if item:
                return item[0]
            if self._stop.is_set():
                raise StopAsyncIteration
            if ended:
                raise self._error or StopAsyncIteration
            await self._wake.wait()

    def _start(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="source", daemon=True)
            self._thread.start()

    def _take(self) -> tuple[list[T], int]:
        """The oldest waiting item, if there is one, and how many were dropped since the last time."""
        with self._changed:
            item = [self._waiting.popleft()] if self._waiting and not self._stop.is_set() else []
            dropped, self._dropped = self._dropped, 0
            self._changed.notify_all()
            return item, dropped

    def _run(self) -> None:
        try:
            for item in self._produce(self._stop):
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        self._ended = True
        self._notify()

    def _put(self, item: T) -> bool:
        with self._changed:
            if self._on_drop is not None and len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self._dropped += 1
            while len(self._waiting) >= self._capacity and not self._stop.is_set():
                self._changed.wait()
            if self._stop.is_set():
                return False
            self._waiting.append(item)
        self._notify()
        return True

    def _notify(self) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def close(self) -> None:
        """End the thread; idempotent."""
        self._stop.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, _JOIN_TIMEOUT_S)
