from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from stream.sources.pacing import Pacer
from stream.sources.thread_feed import ThreadFeed


async def collect(feed: ThreadFeed[int]) -> list[int]:
    return [item async for item in feed]


async def test_everything_arrives_in_order_and_the_producer_never_runs_ahead() -> None:
    produced = 0

    def produce(_stop: threading.Event) -> Iterator[int]:
        nonlocal produced
        for index in range(200):
            produced = index
            yield index

    seen = []
    async for item in ThreadFeed(produce, capacity=3):
        assert produced <= item + 3 + 1
        seen.append(item)
    assert seen == list(range(200))


async def test_a_slow_consumer_of_a_live_producer_gets_the_newest_and_every_loss_is_counted() -> None:
    done, dropped = threading.Event(), []

    def produce(_stop: threading.Event) -> Iterator[int]:
        yield 0
        yield from range(1, 100)
        done.set()

    feed = ThreadFeed(produce, capacity=3, on_drop=dropped.append)
    seen = []
    async for item in feed:
        if not seen:
            await asyncio.to_thread(done.wait)
        seen.append(item)
    assert seen[-3:] == [97, 98, 99]
    assert len(seen) + sum(dropped) == 100
    assert len(seen) <= 1 + 3


async def test_what_the_producer_raises_comes_after_what_it_made() -> None:
    def produce(_stop: threading.Event) -> Iterator[int]:
        yield 1
        raise OSError("broken")

    items = ThreadFeed(produce)
    assert await anext(items) == 1
    with pytest.raises(OSError, match="broken"):
        await anext(items)


@pytest.mark.parametrize("live", [True, False])
async def test_close_ends_the_thread_and_wakes_the_consumer(live: bool) -> None:
    def produce(stop: threading.Event) -> Iterator[int]:
        yield 1
        stop.wait()
        yield 2

    feed = ThreadFeed(produce, on_drop=(lambda _count: None) if live else None)
    before = threading.active_count()
    first = asyncio.Event()
    seen = []

    async def consume() -> None:
        async for item in feed:
            seen.append(item)
            first.set()

    task = asyncio.create_task(consume())
    await first.wait()
    await feed.close()
    await feed.close()
    await task
    assert seen == [1]
    assert threading.active_count() <= before + 1  # the loop's own worker may have started


async def test_a_consumer_that_leaves_early_ends_the_thread() -> None:
    ended = threading.Event()

    def produce(stop: threading.Event) -> Iterator[int]:
        try:
            while not stop.is_set():
                yield 1
        finally:
            ended.set()

    feed = ThreadFeed(produce)
    items = feed
    assert await anext(items) == 1
    await items.close()
    assert await asyncio.to_thread(ended.wait, 10)


class FakeWait(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self.now_s, self.waited = 1000.0, [0.0]

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        self.now_s += timeout
        return False


def test_real_time_waits_until_a_frame_is_due_and_builds_up_no_delay() -> None:
    wait = FakeWait()
    pacer = Pacer(wait, realtime=True, clock=lambda: wait.now_s)
    assert pacer.captured_at(5.0) == 1000.0
    assert pacer.captured_at(5.5) == 1000.5
    assert wait.now_s == 1000.5
    wait.now_s += 0.55  # a little late: comes at once, stamped when it was due
    assert pacer.captured_at(6.0) == 1001.0
    assert wait.waited[-1] == 0
    wait.now_s = 1004.0  # too slow: captured now, and the frames after it count from here
    assert pacer.captured_at(6.5) == 1004.0
    assert pacer.captured_at(7.0) == 1004.5
    assert wait.now_s == 1004.5


def test_as_fast_as_possible_never_waits_and_counts_media_time() -> None:
    wait = FakeWait()
    pacer = Pacer(wait, realtime=False, clock=lambda: wait.now_s)
    assert [pacer.captured_at(t) for t in (0.0, 2.0, 7.5)] == [1000.0, 1002.0, 1007.5]
    assert wait.now_s == 1000.0
