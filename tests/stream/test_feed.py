"""One drawing for all who watch, none while nobody does, and a slow viewer delays nobody."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.hub import Hub
from stream.stamp import read_stamp
from stream.webrtc import feed as feed_module
from stream.webrtc.feed import OverlayFeed, OverlayFeeds, PictureSlot, RtpClock
from tests.stream.viewer_frames import SIZE, make_picture, until


class CountingExecutor(ThreadPoolExecutor):
    """Counts what it is given."""

    submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **kwargs)


@pytest.fixture
def executor() -> Any:
    with CountingExecutor(1) as pool:
        yield pool


async def test_every_picture_is_drawn_once_however_many_watch(executor: CountingExecutor) -> None:
    hub = Hub("cam")
    feed = OverlayFeed(hub, executor)
    slots = [feed.join() for _ in range(4)]
    await until(lambda: hub.subscribers == 1)
    for seq in range(3):
        hub.publish(make_picture(seq))
        pictures = [await anext(slot) for slot in slots]
        assert [picture.seq for picture in pictures] == [seq] * 4
        assert all(picture.planes is pictures[0].planes for picture in pictures)
    assert executor.submitted == 3
    await feed.close()


async def test_nothing_is_drawn_while_nobody_watches(executor: CountingExecutor) -> None:
    hub = Hub("cam")
    feed = OverlayFeed(hub, executor)
    hub.publish(make_picture(0))
    slot = feed.join()
    assert (await anext(slot)).seq == 0, "who joins is shown what is there"
    feed.leave(slot)
    await until(lambda: hub.subscribers == 0)
    for seq in range(1, 5):
        hub.publish(make_picture(seq))
    assert executor.submitted == 1
    assert feed.viewers == 0
    late = feed.join()
    assert (await anext(late)).seq == 4
    await feed.close()


async def test_a_viewer_that_does_not_read_delays_nobody(executor: CountingExecutor) -> None:
    hub = Hub("cam")
    feed = OverlayFeed(hub, executor)
    stalled, reading = feed.join(), feed.join()
    await until(lambda: hub.subscribers == 1)
    for seq in range(5):
        hub.publish(make_picture(seq))
        assert (await anext(reading)).seq == seq
    assert (await anext(stalled)).seq == 4, "only the newest is kept"
    assert stalled.dropped == 4
    assert reading.dropped == 0
    await feed.close()


async def test_a_second_viewer_is_shown_the_newest_picture_at_once(executor: CountingExecutor) -> None:
    hub = Hub("cam")
    hub.publish(make_picture(9))
    feed = OverlayFeed(hub, executor)
    first = feed.join()
    picture = await anext(first)
    assert await anext(feed.join()) is picture
    await feed.close()


async def test_every_slot_ends_when_the_camera_s_hub_closes(executor: CountingExecutor) -> None:
    hub = Hub("cam")
    feed = OverlayFeed(hub, executor)
    slot = feed.join()
    await until(lambda: hub.subscribers == 1)
    hub.close()
    with pytest.raises(StopAsyncIteration):
        await anext(slot)


async def test_a_drawing_that_fails_ends_the_slots_and_the_next_viewer_starts_anew(
    executor: CountingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub("cam")
    feed = OverlayFeed(hub, executor)
    slot = feed.join()
    await until(lambda: hub.subscribers == 1)
    damaged = {"size": [1, 1], "counts": "no run lengths"}
    whole = make_picture(0)
    hub.publish(replace(whole, tracks=(replace(whole.tracks[0], mask=damaged),)))
    with pytest.raises(StopAsyncIteration):
        await anext(slot)
    assert "overlay of camera cam cannot be drawn" in caplog.text
    assert hub.subscribers == feed.viewers == 0
    hub.publish(make_picture(1))
    assert (await anext(feed.join())).seq == 1
    await feed.close()


async def test_closing_ends_all_feeds_and_leaves_no_task(executor: CountingExecutor) -> None:
    hubs = {name: Hub(name) for name in ("a", "b")}
    feeds = OverlayFeeds(hubs, executor)
    slots = [feeds["a"].join(), feeds["b"].join()]
    await until(lambda: all(hub.subscribers for hub in hubs.values()))
    await feeds.close()
    for slot in slots:
        with pytest.raises(StopAsyncIteration):
            await anext(slot)
    assert not any(hub.subscribers for hub in hubs.values())
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(KeyError):
        feeds["c"]


async def test_planes_are_even_i420_and_carry_the_stamp() -> None:
    height, width = SIZE[0] + 1, SIZE[1] + 1
    planes = feed_module.render_planes(make_picture(77, size=(height, width)), stamp=True)
    assert planes.shape == (SIZE[0] * 3 // 2, SIZE[1])
    assert planes.dtype == np.uint8
    assert read_stamp(feed_module.render_planes(make_picture(77), stamp=True)[: SIZE[0]]) == 77


async def test_a_closed_slot_stays_closed() -> None:
    slot = PictureSlot()
    slot.close()
    slot.close()
    with pytest.raises(StopAsyncIteration):
        await anext(slot)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 2e9, allow_nan=False), min_size=1, max_size=30))
def test_rtp_time_always_grows(times: list[float]) -> None:
    clock = RtpClock()
    ticks = [clock.ticks(at_s) for at_s in times]
    assert ticks[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(ticks))


def test_rtp_time_follows_the_capture_clock_also_after_it_was_set_back() -> None:
    clock = RtpClock()
    assert [clock.ticks(at_s) for at_s in (100.0, 100.04, 100.5)] == [0, 3600, 45_000]
    assert [clock.ticks(at_s) for at_s in (50.0, 50.04)] == [48_000, 51_600]
