"""One drawing and one encoding for all who watch, none while nobody does, keyframes when they are needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.hub import Hub
from stream.metrics import Metrics
from stream.stamp import read_stamp
from stream.statistics import CameraStatistics
from stream.webrtc import feed as feed_module
from stream.webrtc.clock import RtpClock
from stream.webrtc.feed import OverlayFeed
from stream.webrtc.feeds import OverlayFeeds
from tests.stream.viewer_frames import SIZE, make_picture, make_service, until


class Watched:
    """A camera's hub, its feed, and what was counted."""

    def __init__(self, executor: ThreadPoolExecutor, *, stamp: bool = False) -> None:
        self.registry = CollectorRegistry()
        self.hub = Hub("cam")
        statistics = CameraStatistics("cam", "synthetic:1", Metrics(self.registry))
        self.feed = OverlayFeed(self.hub, executor, statistics, stamp=stamp)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"syncvis_{name}", {"camera": "cam", **labels}) or 0.0

    @property
    def drawn(self) -> float:
        return self.registry.get_sample_value("syncvis_stage_seconds_count", {"stage": "overlay"}) or 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    with ThreadPoolExecutor(1) as executor:
        camera = Watched(executor)
        yield camera
        await camera.feed.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert camera.hub.subscribers == camera.feed.viewers == 0


async def test_every_picture_is_drawn_once_and_encoded_once_for_each_codec() -> None:
    async with watched() as camera:
        queues = [camera.feed.join("H264") for _ in range(3)] + [camera.feed.join("VP8") for _ in range(2)]
        await until(lambda: camera.hub.subscribers == 1)
        for seq in range(4):
            camera.hub.publish(make_picture(seq))
            pictures = [await anext(queue) for queue in queues]
            assert [picture.seq for picture in pictures] == [seq] * 5
            assert [picture.keyframe for picture in pictures] == [seq == 0] * 5
            assert pictures[0] is pictures[2] is not pictures[3]
        assert camera.drawn == 4
        assert camera.count("pictures_encoded_total", codec="H264") == 4
        assert camera.count("pictures_encoded_total", codec="VP8") == 4
        assert camera.count("keyframes_encoded_total", codec="VP8") == 1
        assert camera.count("viewers") == 5


async def test_nothing_is_drawn_nor_encoded_while_nobody_watches() -> None:
    async with watched() as camera:
        camera.hub.publish(make_picture(0))
        queue = camera.feed.join("H264")
        assert (await anext(queue)).seq == 0, "who joins is shown what is there"
        camera.feed.leave(queue)
        await until(lambda: camera.hub.subscribers == 0)
        for seq in range(1, 5):
            camera.hub.publish(make_picture(seq))
        assert camera.drawn == 1
        assert camera.feed.viewers == camera.count("viewers") == 0
        late = camera.feed.join("H264")
        assert (await anext(late)).seq == 4


async def test_an_encoder_ends_with_the_last_viewer_of_its_codec() -> None:
    async with watched() as camera:
        camera.hub.publish(make_picture(0))
        h264, vp8 = camera.feed.join("H264"), camera.feed.join("VP8")
        await anext(h264)
        await anext(vp8)
        camera.feed.leave(vp8)
        camera.feed.leave(vp8)
        camera.hub.publish(make_picture(1))
        assert (await anext(h264)).seq == 1
        assert camera.count("pictures_encoded_total", codec="VP8") == 1


async def test_a_viewer_that_joins_late_is_shown_a_keyframe_of_a_camera_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "KEYFRAME_INTERVAL_S", 0.02)
    async with watched() as camera:
        first = camera.feed.join("H264")
        await until(lambda: camera.hub.subscribers == 1)
        for seq in range(20):
            camera.hub.publish(make_picture(seq))
            last = await anext(first)
        late = camera.feed.join("H264")
        shown = await anext(late)
        assert (shown.seq, shown.keyframe) == (19, True)
        assert shown.ticks > last.ticks
        assert await anext(first) is shown, "it is the next one for everybody"
        camera.hub.publish(make_picture(20))
        following = await anext(late)
        assert not following.keyframe
        assert following.ticks > shown.ticks


async def test_many_requests_make_one_keyframe_and_those_that_come_too_soon_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "KEYFRAME_INTERVAL_S", 0.2)
    async with watched() as camera:
        camera.hub.publish(make_picture(0))
        queue = camera.feed.join("H264")
        assert (await anext(queue)).keyframe
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(10):
            queue.request_keyframe()
        camera.hub.publish(make_picture(1))
        assert not (await anext(queue)).keyframe, "too soon after the first"
        assert (await anext(queue)).keyframe
        assert loop.time() - began > 0.1
        camera.hub.publish(make_picture(2))
        assert not (await anext(queue)).keyframe
        assert camera.count("keyframes_encoded_total", codec="H264") == 2


async def test_the_rate_follows_the_viewers_and_a_slow_one_is_thinned() -> None:
    async with watched() as camera:
        queues = [camera.feed.join("H264") for _ in range(3)]
        await until(lambda: camera.hub.subscribers == 1)
        queues[0].rate.limit_bps = 210e3
        queues[1].rate.limit_bps = 250e3
        camera.hub.publish(make_picture(0))
        for queue in queues:
            await anext(queue)
        assert [queue.limit_bps for queue in queues] == [210e3, None, None]


async def test_a_viewer_that_does_not_read_delays_nobody() -> None:
    async with watched() as camera:
        stalled, reading = camera.feed.join("H264"), camera.feed.join("H264")
        await until(lambda: camera.hub.subscribers == 1)
        for seq in range(40):
            camera.hub.publish(make_picture(seq))
            assert (await anext(reading)).seq == seq
        assert stalled.dropped == camera.count("viewer_pictures_dropped_total") > 0
        assert reading.dropped == 0


async def test_every_queue_ends_when_the_camera_s_hub_closes() -> None:
    async with watched() as camera:
        queue = camera.feed.join("H264")
        await until(lambda: camera.hub.subscribers == 1)
        camera.hub.close()
        with pytest.raises(StopAsyncIteration):
            await anext(queue)


async def test_a_drawing_that_fails_ends_the_queues_and_the_next_viewer_starts_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watched() as camera:
        queue = camera.feed.join("H264")
        await until(lambda: camera.hub.subscribers == 1)
        damaged = {"size": [1, 1], "counts": "no run lengths"}
        whole = make_picture(0)
        camera.hub.publish(replace(whole, tracks=(replace(whole.tracks[0], mask=damaged),)))
        with pytest.raises(StopAsyncIteration):
            await anext(queue)
        assert "overlay of camera cam cannot be drawn" in caplog.text
        await until(lambda: camera.hub.subscribers == 0)
        camera.hub.publish(make_picture(1))
        assert (await anext(camera.feed.join("H264"))).seq == 1


async def test_closing_ends_all_feeds_and_leaves_no_task() -> None:
    service = make_service("a", "b")
    with ThreadPoolExecutor(1) as executor:
        feeds = OverlayFeeds(service.cameras, executor)
        queues = [feeds["a"].join("H264"), feeds["b"].join("VP8")]
        await until(lambda: all(camera.hub.subscribers for camera in service.cameras.values()))
        await feeds.close()
    for queue in queues:
        with pytest.raises(StopAsyncIteration):
            await anext(queue)
    assert not any(camera.hub.subscribers for camera in service.cameras.values())
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(KeyError):
        feeds["c"]


async def test_planes_are_even_i420_and_carry_the_stamp() -> None:
    height, width = SIZE[0] + 1, SIZE[1] + 1
    planes = feed_module.render_planes(make_picture(77, size=(height, width)), stamp=True)
    assert planes.shape == (SIZE[0] * 3 // 2, SIZE[1])
    assert planes.dtype == np.uint8
    assert read_stamp(feed_module.render_planes(make_picture(77), stamp=True)[: SIZE[0]]) == 77


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


def test_a_picture_that_is_shown_again_comes_between_its_own_time_and_the_next() -> None:
    clock = RtpClock()
    first = clock.ticks(100.0)
    again = clock.between(0.039)
    assert first < again < clock.ticks(100.04) == 3600


def test_the_clock_knows_the_pace() -> None:
    clock = RtpClock()
    for i in range(60):
        clock.ticks(100.0 + i / 10)
    assert clock.fps == pytest.approx(10.0, rel=0.02)
