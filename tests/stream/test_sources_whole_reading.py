"""What of a camera whose pictures come whole is decoded, with FFmpeg's decoder."""

from __future__ import annotations

import av
import pytest

from stream.sources.damage import DamageLog
from stream.sources.whole_reading import WholeReading
from tests.support.payloads_h264 import START_CODE, nal_units
from tests.support.rtsp_server import encode_access_units, index_frames

COUNT, GOP = 12, 6


def read(codec: str, units: list[tuple[bytes, bool]]) -> list[tuple[float, int, bool]]:
    """Of each access unit (bytes, whether a keyframe) that comes out: arrival, frames, damaged."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_type = "NONE"
    found = []
    with DamageLog() as damage:
        reading = WholeReading(decoder, damage, opened_s=100.0)
        for i, (data, keyframe) in enumerate(units):
            packet = av.Packet(data)
            packet.pts, packet.is_keyframe = i, keyframe
            found += [(c.unit.arrival_s, len(c.frames), c.damaged) for c in reading.push(packet, 101.0 + i)]
        assert not list(reading.end())
    return found


def clip(codec: str) -> list[tuple[bytes, bool]]:
    units = encode_access_units(index_frames(COUNT), fps=25, gop=GOP, codec=codec)
    return [(unit, i % GOP == 0) for i, unit in enumerate(units)]


def test_a_parameter_set_that_came_while_the_stream_was_opened_is_not_lost() -> None:
    (first, _), *others = clip("h265")
    alone, *rest = nal_units(first)
    parts = [(START_CODE + alone, False), (b"".join(START_CODE + unit for unit in rest), True), *others]
    assert [frames for _, frames, _ in read("hevc", parts)] == [1] * COUNT


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("h265", "hevc"), ("mjpeg", "mjpeg")])
def test_pictures_are_shown_from_the_first_keyframe_on(codec: str, name: str) -> None:
    units = clip(codec)[1:]
    found = read(name, units)
    assert [frames for _, frames, _ in found] == [1] * (COUNT - GOP)
    assert not any(damaged for _, _, damaged in found)
    ahead = (
        1.0 if name in ("h264", "hevc") else 0.0
    )  # its first bytes came when the one before was handed out
    assert [arrival for arrival, _, _ in found] == [101.0 + i - ahead for i in range(GOP - 1, COUNT - 1)]
