"""A real camera's own encoded pictures: they come with the frames that were decoded from them, and only when wanted."""

from __future__ import annotations

from contextlib import aclosing

import av
import numpy as np
import pytest

from stream.sources.base import SourceOptions
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat
from stream.sources.rtsp import LiveSource
from stream.sources.urls import parse_address
from stream.types import Frame
from tests.support.rtsp_server import RtspServer, index_frames, read_index

pytestmark = pytest.mark.integration

FRAMES, GOP = 50, 10


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []
        self.formats: list[VideoFormat] = []
        self.lost = self.breaks = 0

    def on_packet(self, packet: EncodedPacket) -> None:
        self.packets.append(packet)

    def on_lost(self, count: int) -> None:
        self.lost += count

    def on_break(self) -> None:
        self.breaks += 1

    def on_format(self, found: VideoFormat) -> None:
        self.formats.append(found)


async def read(url: str, tap: PacketTap, listener: Listener, before: int, frames: int) -> list[Frame]:
    """`frames` frames of a camera; the listener joins after the first `before`."""
    found: list[Frame] = []
    source = LiveSource("cam", parse_address(url), SourceOptions(), tap)
    async with aclosing(source):
        async for frame in source:
            found.append(frame)
            if len(found) == before:
                assert not listener.packets
                tap.listen(listener)
            if len(found) == frames:
                break
    return found


async def test_encoded_pictures_come_with_the_frames_that_were_decoded_from_them(
    rtsp_server: RtspServer,
) -> None:
    url = rtsp_server.serve_clip(index_frames(FRAMES), gop=GOP)
    tap, listener = PacketTap(), Listener()
    frames = await read(url, tap, listener, before=15, frames=60)
    assert listener.lost == 0
    first = listener.packets[0]
    assert first.keyframe, "who joins begins with an IDR picture"
    past = [packet.past for packet in listener.packets if packet.past]
    assert past == list(range(len(past), 0, -1))
    by_key = {(frame.pts, frame.captured_at_s): frame for frame in frames}
    decoder = av.CodecContext.create("h264", "r")
    matched = 0
    for packet in listener.packets:
        (shown,) = decoder.decode(av.Packet(packet.data))
        frame = by_key.get((packet.pts, packet.arrival_s))
        if frame is not None:
            picture = np.asarray(shown.to_ndarray(format="rgb24"), np.uint8)
            assert read_index(picture) == read_index(frame.image)
            matched += 1
    assert matched >= 30
    assert tap.format is None, "the connection is gone"
    assert listener.breaks == 1


@pytest.mark.parametrize(
    ("codec", "passable"), [("h264", True), ("h264-b", False), ("h265", False), ("mjpeg", False)]
)
async def test_what_a_camera_sends_is_known_after_its_first_frames(
    rtsp_server: RtspServer, codec: str, passable: bool
) -> None:
    url = rtsp_server.serve_clip(index_frames(FRAMES), gop=GOP, codec=codec)
    tap = PacketTap()
    found: VideoFormat | None = None
    source = LiveSource("cam", parse_address(url), SourceOptions(), tap)
    async with aclosing(source):
        for _ in range(10):
            await anext(source)
            found = tap.format
    assert found is not None
    assert found.codec == codec.partition("-")[0].replace("h265", "hevc")
    assert found.reordered == (codec == "h264-b")
    assert found.passable == passable
