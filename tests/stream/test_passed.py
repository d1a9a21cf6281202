"""The camera's own pictures for viewers: in order, without a hole, each with its own masks or with none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.hub import Hub
from stream.metrics import Metrics
from stream.sources.group import GROUP_PICTURES
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat
from stream.statistics import CameraStatistics
from stream.types import TrackedFrame
from stream.webrtc.encoder import EncodedPicture
from stream.webrtc.passed import HOLD_S, MOST_HELD, PacketClock, PassedFeed, PassedQueue
from stream.wire import decode
from tests.stream.frames import make_tracked

STEP = 3600
GROUP = 10
BASELINE = VideoFormat("h264", "42c01e")
IDR, SLICE = b"\0\0\1\x65\x88", b"\0\0\1\x41\x9a"


def packet(number: int, *, past: int = 0, keyframe: bool | None = None) -> EncodedPacket:
    """Picture `number` of a camera of 25 a second, an IDR picture every `GROUP`."""
    keyframe = number % GROUP == 0 if keyframe is None else keyframe
    data = (IDR if keyframe else SLICE) + b"%06d" % number
    return EncodedPacket(data, 1000 + number / 25, STEP * number, Fraction(1, 90_000), keyframe, past)


def answer(number: int) -> TrackedFrame:
    """What the model says of it."""
    frame = make_tracked(number)
    return replace(frame, pts=STEP * number, time_base=Fraction(1, 90_000), captured_at_s=1000 + number / 25)


def number_of(picture: EncodedPicture) -> int:
    return int(picture.payloads[-1][-6:])


@dataclass
class Camera:
    """A camera's tap and hub, its feed, and the time."""

    now: float = 0.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    hub: Hub = field(default_factory=lambda: Hub("cam"))
    tap: PacketTap = field(default_factory=PacketTap)
    wanted: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        statistics = CameraStatistics("cam", "rtsp://host/path", Metrics(self.registry))
        self.feed = PassedFeed(self.hub, self.tap, statistics, clock=lambda: self.now)
        self.ask = self.wanted.append
        self.tap.attach(self.ask)
        self.tap.formatted(BASELINE)

    def passed(self, masks: str) -> float:
        labels = {"camera": "cam", "masks": masks}
        return self.registry.get_sample_value("syncvis_pictures_passed_total", labels) or 0.0


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    made = Camera()
    yield made
    await made.feed.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def taken(queue: PassedQueue) -> list[EncodedPicture]:
    """Everything that waits for a viewer."""
    pictures = []
    while queue._waiting:
        step = queue.__anext__()
        with pytest.raises(StopIteration) as done:
            step.send(None)
        pictures.append(done.value.value)
    return pictures


async def test_a_picture_waits_for_its_masks_and_has_their_rtp_time(camera: Camera) -> None:
    queue = camera.feed.join()
    for number in range(3):
        camera.tap.put(packet(number))
    assert taken(queue) == []
    camera.hub.publish(answer(1))  # the model skipped the one before
    first, second = taken(queue)
    assert (number_of(first), number_of(second)) == (0, 1)
    assert first.masks is None
    assert second.masks is not None
    frame = decode(second.masks.text)
    assert frame.seq == 1
    assert frame.rtp_timestamp == second.masks.rtp_timestamp == (camera.feed.origin + second.ticks) % 2**32
    assert second.ticks - first.ticks == STEP
    assert (camera.passed("own"), camera.passed("none")) == (1, 1)


async def test_after_the_deadline_it_goes_out_without(camera: Camera) -> None:
    queue = camera.feed.join()
    camera.tap.put(packet(0))
    camera.now += HOLD_S / 2
    camera.tap.put(packet(1))
    camera.now += HOLD_S / 2
    camera.feed._expire()
    assert [number_of(picture) for picture in taken(queue)] == [0]
    camera.hub.publish(answer(0))  # too late: it is not said of another picture
    assert taken(queue) == []
    camera.hub.publish(answer(1))
    (own,) = taken(queue)
    assert own.masks is not None
    assert camera.passed("late") == 1


async def test_the_deadline_is_kept_by_the_clock_of_the_loop(camera: Camera) -> None:
    queue = camera.feed.join()
    camera.tap.put(packet(0))
    camera.now += 2 * HOLD_S
    camera.feed._timer.cancel()  # type: ignore[union-attr]
    camera.feed._timer = None
    camera.feed._set_timer()
    assert number_of(await anext(queue)) == 0


async def test_what_waits_is_bounded(camera: Camera) -> None:
    queue = camera.feed.join()
    for number in range(2 * MOST_HELD):
        camera.tap.put(packet(number))
        taken(queue)
        assert len(camera.feed._held) <= MOST_HELD
    assert camera.passed("late") == MOST_HELD


async def test_nothing_is_asked_for_while_nobody_watches(camera: Camera) -> None:
    assert camera.wanted == []
    queues = [camera.feed.join(), camera.feed.join()]
    for queue in queues:
        camera.feed.leave(queue)
    assert camera.wanted == [True, False]
    assert camera.feed._timer is None


async def test_who_joins_begins_with_the_newest_group_in_a_moment(camera: Camera) -> None:
    first = camera.feed.join()
    for i, number in enumerate(range(10, 16)):
        camera.tap.put(packet(number, past=6 - i))
    began = taken(first)
    assert [number_of(picture) for picture in began] == list(range(10, 16))
    for number in range(16, 18):
        camera.tap.put(packet(number))
        camera.hub.publish(answer(number))
    second = camera.feed.join()
    assert [number_of(picture) for picture in taken(second)] == list(range(10, 18))
    pictures = [*began, *taken(first)]
    assert [number_of(picture) for picture in pictures] == list(range(10, 18))
    ticks = [picture.ticks for picture in pictures]
    assert ticks == sorted(set(ticks))
    assert ticks[5] - ticks[0] < STEP, "they are decoded, not played"
    assert ticks[6] - ticks[5] == STEP


async def test_a_long_group_is_not_begun_with(camera: Camera) -> None:
    queue = camera.feed.join()
    for number in range(GROUP_PICTURES + 5):
        camera.tap.put(packet(number, keyframe=number == 0))
        camera.hub.publish(answer(number))
        taken(queue)
    assert taken(camera.feed.join()) == []


async def test_a_viewer_that_lost_a_picture_gets_the_group_again_but_not_often(camera: Camera) -> None:
    queue, other = camera.feed.join(), camera.feed.join()
    for number in range(5):
        camera.tap.put(packet(number))
        camera.hub.publish(answer(number))
    before = taken(queue)
    queue.request_keyframe()
    again = taken(queue)
    assert [number_of(picture) for picture in again] == list(range(5))
    assert all(picture.masks is None for picture in again), "their times are not those of the masks"
    queue.request_keyframe()
    assert taken(queue) == []
    camera.tap.put(packet(5))
    camera.hub.publish(answer(5))
    ticks = [picture.ticks for picture in [*before, *again, *taken(queue)]]
    assert ticks == sorted(set(ticks))
    assert len(taken(other)) == 6, "nobody else is told"


async def test_a_reconnect_goes_on_and_another_format_ends_the_viewers(camera: Camera) -> None:
    queue = camera.feed.join()
    camera.tap.put(packet(0))
    camera.tap.detach(camera.ask)
    camera.tap.attach(camera.ask)
    camera.tap.formatted(VideoFormat("h264"))  # all that is known before its first IDR picture
    camera.tap.formatted(BASELINE)
    camera.tap.put(replace(packet(0), arrival_s=1010.0))  # its clock begins anew
    camera.hub.publish(replace(answer(0), captured_at_s=1010.0))
    old, new = taken(queue)
    assert old.masks is None
    assert new.masks is not None
    assert new.ticks - old.ticks == 10 * 90_000
    camera.tap.formatted(VideoFormat("h264", "42c01e", reordered=True))
    assert camera.feed.viewers == 0
    assert camera.feed.profile is None
    with pytest.raises(StopAsyncIteration):
        await anext(queue)


async def test_the_viewers_end_with_the_camera(camera: Camera) -> None:
    queue = camera.feed.join()
    camera.hub.close()
    with pytest.raises(StopAsyncIteration):
        await anext(queue)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["packet", "answer", "skip", "late", "join", "break"]), max_size=80))
async def test_no_masks_are_said_of_another_picture(steps: list[str]) -> None:
    camera = Camera()
    queues = [camera.feed.join()]
    sent = answered = 0
    seen: list[list[EncodedPicture]] = [[]]
    for step in steps:
        if step == "packet":
            camera.tap.put(packet(sent))
            sent += 1
        elif step in ("answer", "skip") and answered < sent:
            if step == "answer":
                camera.hub.publish(answer(answered))
            answered += 1
        elif step == "late":
            camera.now += HOLD_S / 3
            camera.feed._expire()
        elif step == "join":
            queues.append(camera.feed.join())
            seen.append([])
        elif step == "break":
            camera.feed.on_break()
        for queue, pictures in zip(queues, seen, strict=True):
            pictures += taken(queue)
    await camera.feed.close()
    for pictures in seen:
        check(pictures, camera.feed.origin)


def check(pictures: list[EncodedPicture], origin: int) -> None:
    """From a keyframe on, without a hole, on times that grow, and with no masks but their own."""
    numbers = [number_of(picture) for picture in pictures]
    assert numbers == [number + numbers[0] for number in range(len(numbers))]
    assert not numbers or numbers[0] % GROUP == 0
    ticks = [picture.ticks for picture in pictures]
    assert ticks == sorted(set(ticks))
    for picture in pictures:
        if picture.masks is not None:
            frame = decode(picture.masks.text)
            assert frame.seq == number_of(picture)
            assert frame.rtp_timestamp == (origin + picture.ticks) % 2**32


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), min_size=1, max_size=30))
def test_times_grow_whatever_the_camera_s_clock_does(pts: list[int | None]) -> None:
    clock = PacketClock()
    ticks = [
        clock.ticks(replace(packet(number), pts=value, arrival_s=1000 + number / 25))
        for number, value in enumerate(pts)
    ]
    assert ticks == sorted(set(ticks))
    assert ticks[-1] - ticks[0] < 90_000 * (len(pts) * 2 + 2), "and not by hours"
