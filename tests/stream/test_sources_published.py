"""Published cameras: one publisher at a time, a bounded way to the decoder, and no harm from what cannot be decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import av
import numpy as np
import pytest

from stream.errors import SourceLeft
from stream.sources.base import SourceOptions
from stream.sources.published import (
    WAITING_PICTURES,
    CodedPicture,
    Doorway,
    OccupiedError,
    Publication,
    PublishedSource,
)

OPTIONS = SourceOptions()


def coded(count: int, size: tuple[int, int] = (64, 48), first: int = 0) -> Iterator[CodedPicture]:
    """H.264 pictures, each brighter than the one before."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = *size, "yuv420p"
    context.framerate = 25
    context.options = {"tune": "zerolatency", "preset": "ultrafast"}
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 10 * i, np.uint8), format="rgb24")
        frame.pts = i
        data = b"".join(bytes(packet) for packet in context.encode(frame))
        yield CodedPicture("H264", data, 3600 * (first + i), 1000.0 + (first + i) / 25, keyframe=i == 0)


async def test_frames_are_the_pictures_with_the_times_of_their_arrival() -> None:
    doorway = Doorway()
    source = PublishedSource("cam", doorway, OPTIONS)
    waiting = asyncio.create_task(anext(source))
    await asyncio.sleep(0)
    publication = doorway.enter()
    for picture in coded(3):
        publication.put(picture)
    frames = [await waiting, await anext(source), await anext(source)]
    assert [frame.captured_at_s for frame in frames] == [1000.0, 1000.04, 1000.08]
    assert [frame.seq for frame in frames] == [0, 1, 2]
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [0, 10, 20]
    assert not frames[0].image.flags.writeable
    publication.end()
    with pytest.raises(SourceLeft, match="left") as left:
        await anext(source)
    assert left.value.expected
    assert not doorway.occupied


async def test_one_publisher_at_a_time_and_each_is_given_out_once() -> None:
    doorway = Doorway()
    first = doorway.enter()
    with pytest.raises(OccupiedError):
        doorway.enter()
    first.end()
    first.end()
    second = doorway.enter()
    assert await doorway.publisher() is second
    again = asyncio.create_task(doorway.publisher())
    await asyncio.sleep(0)
    assert not again.done()
    second.end()
    third = doorway.enter()
    assert await again is third


async def test_the_end_of_an_older_publication_takes_nobody_s_place() -> None:
    doorway = Doorway()
    told: list[str] = []
    first = doorway.enter()
    first.on_end(lambda: told.append("first"))
    first.end()
    doorway.enter()
    first.end()
    assert doorway.occupied
    assert told == ["first"]


async def test_what_the_decoder_does_not_keep_up_with_goes_up_to_a_keyframe() -> None:
    publication = Publication(lambda _: None)
    asked: list[int] = []
    publication.need_keyframe = lambda: asked.append(1)
    picture = CodedPicture("VP8", b"x", 0, 0.0, keyframe=False)
    for _ in range(WAITING_PICTURES + 1):
        publication.put(picture)
    assert asked == [1]
    assert publication.dropped() == WAITING_PICTURES + 1
    assert publication.dropped() == 0


async def test_no_picture_in_time_ends_it_and_says_so() -> None:
    doorway = Doorway()
    source = PublishedSource("cam", doorway, SourceOptions(keyframe_timeout_s=0.01))
    publication = doorway.enter()
    with pytest.raises(SourceLeft, match="no picture came that can be decoded") as left:
        await anext(source)
    assert not left.value.expected
    assert publication.ended


async def test_what_cannot_be_decoded_is_counted_and_a_keyframe_asked_for() -> None:
    doorway = Doorway()
    source = PublishedSource("cam", doorway, OPTIONS)
    drops: list[tuple[str, int]] = []
    source.on_drop = lambda cause, count: drops.append((cause, count))
    publication = doorway.enter()
    asked = asyncio.Event()
    publication.need_keyframe = asked.set
    publication.put(CodedPicture("VP8", b"\x00\xff\xff", 0, 0.0, keyframe=True))
    for picture in coded(1):
        publication.put(picture)
    await anext(source)
    await asked.wait()
    assert drops == [("corrupt", 1)]
    await source.close()


async def test_another_picture_size_is_a_discontinuity() -> None:
    doorway = Doorway()
    source = PublishedSource("cam", doorway, OPTIONS)
    publication = doorway.enter()
    for picture in (*coded(1), *coded(1, (96, 48), first=1)):
        publication.put(picture)
    frames = [await anext(source), await anext(source)]
    assert [frame.image.shape for frame in frames] == [(48, 64, 3), (48, 96, 3)]
    assert [frame.discontinuity for frame in frames] == [False, True]
    await source.close()


async def test_closing_while_nobody_publishes_leaves_nothing() -> None:
    source = PublishedSource("cam", Doorway(), OPTIONS)
    waiting = asyncio.create_task(anext(source))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await source.close()
