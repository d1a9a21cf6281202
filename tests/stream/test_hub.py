"""The hub delays nobody for the sake of a slow subscriber, and ends everybody when it closes."""

from __future__ import annotations

import asyncio

import pytest

from stream.hub import Hub
from stream.types import TrackedFrame
from tests.stream.frames import make_tracked


async def test_a_stalled_subscriber_delays_no_other() -> None:
    hub = Hub("cam")
    stalled, quick = hub.subscribe(), hub.subscribe()
    seen = []
    for seq in range(100):
        hub.publish(make_tracked(seq))
        seen.append((await anext(quick)).seq)
    assert seen == list(range(100))
    assert quick.dropped == 0
    assert stalled.dropped == 99
    assert (await anext(stalled)).seq == 99


async def test_a_frame_is_stamped_when_it_is_published() -> None:
    hub = Hub("cam", clock=lambda: 1000.5)
    assert hub.latest is None
    stamped = hub.publish(make_tracked(0))
    assert stamped.published_at_s == 1000.5
    assert stamped.latency_s == pytest.approx(0.5)
    assert hub.latest is stamped


async def test_close_ends_iterations_and_later_subscriptions() -> None:
    hub = Hub("cam")

    async def read() -> int:
        count = 0
        async with hub.subscribe() as frames:
            async for _ in frames:
                count += 1
        return count

    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0)
        hub.publish(make_tracked(0))
        for _ in range(3):
            await asyncio.sleep(0)
        hub.close()
    assert [reader.result() for reader in readers] == [1, 1, 1]
    assert hub.subscribers == 0
    assert await read() == 0


async def test_subscribers_are_counted() -> None:
    told: list[int] = []
    hub = Hub("cam", on_subscribers=told.append)
    async with hub.subscribe():
        other = hub.subscribe()
        assert hub.subscribers == 2
        other.close()
        other.close()
    hub.subscribe()
    hub.close()
    assert told == [1, 2, 1, 0, 1, 0]


async def test_an_iteration_that_is_cancelled_leaves_the_hub() -> None:
    hub = Hub("cam")

    async def read() -> None:
        async with hub.subscribe() as frames:
            async for _ in frames:
                pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    assert hub.subscribers == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hub.subscribers == 0


async def test_a_listener_hears_every_frame_and_the_end_until_it_is_taken_out() -> None:
    hub = Hub("cam")
    heard: list[int | None] = []
    left: list[int | None] = []

    def listen(frame: TrackedFrame | None) -> None:
        heard.append(None if frame is None else frame.seq)

    def leave(frame: TrackedFrame | None) -> None:
        left.append(None if frame is None else frame.seq)
        hub.unlisten(leave)

    hub.listen(listen)
    hub.listen(leave)
    for seq in range(3):
        hub.publish(make_tracked(seq))
    hub.close()
    assert heard == [0, 1, 2, None]
    assert left == [0]
