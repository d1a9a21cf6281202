"""What a real server sends of H.264, in large and small packets, is decoded and passed on to the last bit."""

from __future__ import annotations

import itertools
from contextlib import aclosing
from pathlib import Path

import av
import numpy as np
import pytest

from stream.sources.base import SourceOptions
from stream.sources.packets import EncodedPacket, PacketTap
from stream.sources.rtsp import LiveSource
from stream.sources.urls import parse_address
from stream.types import Frame
from tests.faults.stage import Clip
from tests.integration.test_rtsp_packets import Listener
from tests.support.payloads_h264 import nal_units
from tests.support.rtsp_server import Mount, RtspServer, encode_access_units, read_index, write_access_units

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SETS = (7, 8)
"""Types of NAL units that the server repeats at will."""


def content(data: bytes) -> list[bytes]:
    """The NAL units of a picture but its parameter sets."""
    return [unit for unit in nal_units(data) if unit[0] & 0x1F not in SETS]


def check_frames(frames: list[Frame], units: list[bytes]) -> None:
    """Each is what the clip's own bytes give."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_type = "NONE"
    truth = [frame.to_ndarray(format="rgb24") for unit in units for frame in decoder.decode(av.Packet(unit))]
    assert not any(frame.flags for frame in frames)
    assert all(np.array_equal(frame.image, truth[read_index(frame.image)]) for frame in frames)
    numbers = [read_index(frame.image) for frame in frames]
    steps = {(new - old) % len(units) for old, new in itertools.pairwise(numbers)}
    assert max(steps) < len(units) // 2, "in order; a busy machine loses some"


def check_packets(packets: list[EncodedPacket], units: list[bytes]) -> None:
    """Each is all of a picture, in order, each picture once."""
    sent = [content(unit) for unit in units]
    numbers = [sent.index(content(packet.data)) for packet in packets]
    assert all((new - old) % len(units) == 1 for old, new in itertools.pairwise(numbers))
    assert [packet.keyframe for packet in packets] == [
        any(unit[0] & 0x1F == 5 for unit in sent[number]) for number in numbers
    ]
    times = [packet.pts for packet in packets if packet.pts is not None]
    assert len(times) >= 0.9 * len(packets)


@pytest.mark.parametrize(
    ("codec", "transport", "mtu"),
    [("h264", "tcp", 1400), ("h264", "udp", 500), ("h264-slices", "tcp", 500), ("h264-slices", "udp", 1400)],
)
async def test_every_picture_is_as_it_was_sent(
    rtsp_server: RtspServer, tmp_path: Path, codec: str, transport: str, mtu: int
) -> None:
    clip = Clip(seconds=2.56, codec=codec)
    units = encode_access_units(clip.pictures(), fps=clip.fps, gop=clip.gop, codec=codec)
    write_access_units(tmp_path / "clip.units", units)
    url = rtsp_server.add(Mount("/clip", str(tmp_path / "clip.units"), codec, clip.fps, mtu=mtu))
    tap, listener = PacketTap(), Listener()
    tap.listen(listener)
    frames: list[Frame] = []
    options = SourceOptions.model_validate({"transport": transport})
    async with aclosing(LiveSource("cam", parse_address(url), options, tap)) as source:
        while len(frames) < 60:
            frames.append(await anext(source))
    check_frames(frames, units)
    check_packets(listener.packets, units)
    assert listener.lost == 0
    assert len(listener.packets) >= len(frames)
