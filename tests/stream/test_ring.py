"""The ring buffer stays bounded, loses or waits as told, and accounts for every item."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.ring import CLOSING, OVERLOAD, RingBuffer

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure


async def drain(ring: RingBuffer[int]) -> list[int]:
    items = []
    while await ring.wait():
        items += ring.take(1, 1)[0]
    return items


steps_of_a_consumer = st.lists(
    st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(1, 4))), max_size=60
)


@no_deadline
@given(st.integers(1, 5), steps_of_a_consumer)
def test_a_live_ring_accounts_for_every_item(capacity: int, steps: list[tuple[int, int] | None]) -> None:
    async def scenario() -> None:
        told: Counter[str] = Counter()
        ring: RingBuffer[int] = RingBuffer(capacity, on_drop=lambda cause, count: told.update({cause: count}))
        put, got, lost = 0, [], False
        for step in steps:
            if step is None:
                lost = lost or len(ring) == capacity
                await ring.put(put)
                put += 1
            else:
                most, newest = step
                held = list(range(put - len(ring), put))
                taken, behind = ring.take(most, newest)
                assert behind == lost
                assert taken == (held[-newest:] if lost else held)[:most]
                got += taken
                lost = False
            assert len(ring) <= capacity
            assert ring.fill_ratio == len(ring) / capacity
        await asyncio.sleep(0)  # what was passed over is told on the loop's thread, a step later
        held_back = len(ring)
        assert put == len(got) + sum(ring.dropped.values()) + held_back
        assert told == ring.dropped
        assert got == sorted(got)
        await ring.close()
        # What is left is the newest that was put: the oldest were dropped.
        assert await drain(ring) == list(range(put - held_back, put))[-1 if lost else 0 :]

    asyncio.run(scenario())


async def test_it_is_taken_from_on_another_thread_while_it_is_filled() -> None:
    ring: RingBuffer[int] = RingBuffer(4, lossless=True)

    async def consume() -> list[int]:
        got: list[int] = []
        while await ring.wait(3):
            got += (await asyncio.to_thread(ring.take, 3, 1))[0]
        return got

    async with asyncio.TaskGroup() as tasks:
        got = tasks.create_task(consume())
        for item in range(200):
            await ring.put(item)
        await ring.close()
    assert got.result() == list(range(200))


async def test_a_live_ring_never_holds_its_producer_back() -> None:
    told: Counter[str] = Counter()
    ring: RingBuffer[int] = RingBuffer(2, on_drop=lambda cause, count: told.update({cause: count}))
    for item in range(10):
        await ring.put(item)
    assert ring.dropped == told == {OVERLOAD: 8}


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
    assert not await ring.wait()


async def test_close_frees_a_consumer_that_waits() -> None:
    ring: RingBuffer[int] = RingBuffer(1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(ring.wait())
        await asyncio.sleep(0)
        await ring.close()
    assert waiting.result() is False
