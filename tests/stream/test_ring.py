"""The ring buffer stays bounded, loses or waits as told, and accounts for every item."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.ring import CLOSING, RING_FULL, RingBuffer

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure


async def drain(ring: RingBuffer[int]) -> list[int]:
    items = []
    while (item := await ring.get()) is not None:
        items.append(item)
    return items


@no_deadline
@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_a_live_ring_accounts_for_every_item(capacity: int, steps: list[bool]) -> None:
    async def scenario() -> None:
        ring: RingBuffer[int] = RingBuffer(capacity)
        put, got = 0, []
        for is_put in steps:
            if is_put:
                await ring.put(put)
                put += 1
            elif len(ring):
                got.append(await ring.get())
            assert len(ring) <= capacity
            assert ring.fill_ratio == len(ring) / capacity
        held = len(ring)
        assert put == len(got) + sum(ring.dropped.values()) + held
        assert got == sorted(got)
        await ring.close()
        # What is left is the newest that was put: the oldest were dropped.
        assert await drain(ring) == list(range(put - held, put))

    asyncio.run(scenario())


async def test_a_live_ring_never_holds_its_producer_back() -> None:
    told: Counter[str] = Counter()
    ring: RingBuffer[int] = RingBuffer(2, on_drop=lambda cause, count: told.update({cause: count}))
    for item in range(10):
        await ring.put(item)
    assert ring.dropped == told == {RING_FULL: 8}


async def test_a_lossless_ring_holds_its_producer_back_and_loses_nothing() -> None:
    ring: RingBuffer[int] = RingBuffer(2, lossless=True)
    most = 0

    async def produce() -> None:
        nonlocal most
        for item in range(50):
            await ring.put(item)
            most = max(most, len(ring))
        await ring.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(produce())
        got = tasks.create_task(drain(ring))
    assert got.result() == list(range(50))
    assert ring.dropped == {}
    assert most == 2


async def test_close_frees_a_producer_that_waits() -> None:
    ring: RingBuffer[int] = RingBuffer(1, lossless=True)
    await ring.put(1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ring.put(2))
        await asyncio.sleep(0)
        await ring.close(discard=True)
    assert ring.dropped == {CLOSING: 2}
    assert await ring.get() is None


async def test_close_frees_a_consumer_that_waits() -> None:
    ring: RingBuffer[int] = RingBuffer(1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(ring.get())
        await asyncio.sleep(0)
        await ring.close()
    assert waiting.result() is None
