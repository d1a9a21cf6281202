"""From RTP's payloads to pictures, with FFmpeg's decoder: the same pictures as from whole access units, and sooner."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import av
import numpy as np
import pytest

from stream.sources.coded_units import Coded
from stream.sources.damage import DamageLog
from stream.sources.h264_reading import H264Reading
from syncvis_online.types import Image
from tests.support.payloads_h264 import Handed, even, filled, nal_units, packets_of
from tests.support.rtsp_server import encode_access_units, index_frames

COUNT, GOP, TICKS = 30, 10, 3600


@cache
def encoded(codec: str) -> list[bytes]:
    """Pictures with a texture that moves, so that they take several packets."""
    texture = np.random.default_rng(7).integers(-30, 30, (192, 320, 1), np.int16)
    pictures: list[Image] = [
        (image + np.roll(texture, 5 * i, axis=1)).clip(0, 255).astype(np.uint8)
        for i, image in enumerate(index_frames(COUNT))
    ]
    return encode_access_units(pictures, fps=25, gop=GOP, codec=codec)


def pixels(frame: Any) -> bytes:
    return bytes(frame.to_ndarray().tobytes())


@cache
def true_pictures(codec: str) -> list[bytes]:
    """In the order in which they are shown."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for unit in encoded(codec) for frame in decoder.decode(av.Packet(unit))]
    return [pixels(frame) for frame in [*frames, *decoder.decode(None)]]


class Camera:
    """The reading of one connection, packet by packet."""

    def __init__(self) -> None:
        self.codec = av.CodecContext.create("h264", "r")
        self.codec.thread_type = "NONE"
        self.damage = DamageLog()
        self.shown: list[tuple[int, Coded]] = []
        """Each with the number of the packet that it came with."""

    def read(self, packets: list[Handed], lost: frozenset[int] = frozenset()) -> list[Coded]:
        with self.damage:
            reading = H264Reading(self.codec, self.damage)
            for i, handed in enumerate(packets):
                if i in lost:
                    continue
                if i - 1 in lost:
                    av.logging.log(av.logging.WARNING, "rtsp", "RTP: missed 1 packets\n")
                packet = av.Packet(handed.data)
                packet.pts = handed.pts
                self.shown += [(i, coded) for coded in reading.push(packet, float(i))]
            self.shown += [(len(packets), coded) for coded in reading.end()]
        return [coded for _, coded in self.shown]


def packets(codec: str, mtu: int, divide: Any = filled) -> list[Handed]:
    return [
        packet
        for i, unit in enumerate(encoded(codec))
        for packet in packets_of(nal_units(unit), i * TICKS, mtu, divide)
    ]


@pytest.mark.parametrize("mtu", [300, 1400, 60_000])
@pytest.mark.parametrize("codec", ["h264", "h264-slices"])
def test_each_picture_is_there_with_its_last_packet(codec: str, mtu: int) -> None:
    sent, camera = packets(codec, mtu), Camera()
    coded = camera.read(sent)
    assert [each.data for each in coded] == [
        b"".join(_start(u) for u in nal_units(a)) for a in encoded(codec)
    ]
    assert [pixels(frame) for each in coded for frame in each.frames] == true_pictures(codec)
    assert all(frame.pts == each.unit.pts for each in coded for frame in each.frames)
    assert not any(each.damaged or each.corrupt for each in coded)
    assert [each.unit.keyframe for each in coded] == [i % GOP == 0 for i in range(COUNT)]
    last = {packet.pts: i for i, packet in enumerate(sent)}
    at_once = [told == last[each.unit.pts or 0] for told, each in camera.shown]
    assert not at_once[0], "nothing is known yet"
    full = {
        len(packet.data) for packet in sent if not packet.ends and not packet.data.startswith(b"\0\0\0\1")
    }
    ends_full = [len(sent[last[each.unit.pts or 0]].data) in full for each in coded]
    assert all(known or full for known, full in zip(at_once[1:], ends_full[1:], strict=True)) or mtu == 60_000
    assert sum(at_once) >= 0.8 * COUNT


def _start(unit: bytes) -> bytes:
    return b"\0\0\0\1" + unit


@pytest.mark.parametrize(("codec", "divide"), [("h264-b", filled), ("h264", even), ("h264-slices", even)])
def test_where_ends_are_not_to_be_known_pictures_come_with_the_next_one(codec: str, divide: Any) -> None:
    camera = Camera()
    coded = camera.read(packets(codec, 500, divide))
    found = [pixels(frame) for each in coded for frame in each.frames]
    assert found == true_pictures(codec)[: len(found)]
    assert len(found) >= COUNT - 2
    assert len(coded) == COUNT
    assert not any(each.damaged or each.corrupt for each in coded)


def test_a_camera_that_changes_its_number_of_slices_loses_nothing() -> None:
    one, four = encoded("h264"), encoded("h264-slices")
    groups = [source[at : at + GOP] for at in range(0, COUNT, GOP) for source in (one, four)] * 4
    units = list(itertools.chain.from_iterable(groups))
    sent = [p for i, unit in enumerate(units) for p in packets_of(nal_units(unit), i * TICKS, 1400)]
    coded = Camera().read(sent)
    decoder = av.CodecContext.create("h264", "r")
    truth = [pixels(frame) for unit in units for frame in decoder.decode(av.Packet(unit))]
    assert [pixels(frame) for each in coded for frame in each.frames] == truth
    assert not any(each.damaged or each.corrupt for each in coded)


@pytest.mark.parametrize("codec", ["h264", "h264-slices"])
@pytest.mark.parametrize("every", [7, 23, 61])
def test_after_a_loss_what_is_not_as_it_was_sent_is_damaged_up_to_a_keyframe(codec: str, every: int) -> None:
    sent = packets(codec, 300)
    lost = frozenset(i for i in range(len(sent) // 3, len(sent) - 40) if i % every == 0)
    coded = Camera().read(sent, lost)
    truth = true_pictures(codec)
    shown = [(each, frame) for each in coded for frame in each.frames]
    wrong = [each for each, frame in shown if pixels(frame) != truth[frame.pts // TICKS]]
    assert all(each.damaged for each in wrong)
    assert len({frame.pts for _, frame in shown}) == len(shown)
    hurt = {sent[i].pts // TICKS // GOP for i in lost}
    spared = [each for each, frame in shown if frame.pts // TICKS // GOP not in hurt]
    assert not any(each.damaged for each in spared)
    assert not any(each.damaged for each in coded[:GOP])


def test_one_picture_in_each_group_that_is_not_all_there_leaves_no_trace() -> None:
    """The decoder is given each such picture twice, the second time as it is; it has room for 36 pictures."""
    sent: list[Handed] = []
    for loop in range(45):
        for i, unit in enumerate(encoded("h264")[:GOP]):
            units = nal_units(unit)
            if i == 4:
                units[-1] = units[-1][: len(units[-1]) // 2]
            sent += packets_of(units, (loop * GOP + i) * TICKS, 1400)
    coded = Camera().read(sent)
    assert len(coded) == 45 * GOP
    for loop in range(45):
        group = coded[loop * GOP : (loop + 1) * GOP]
        assert [len(each.frames) for each in group] == [1] * 4 + [0] + [1] * 5
        assert [each.damaged for each in group] == [False] * 4 + [True] * 6
        assert [each.corrupt for each in group] == [0] * 4 + [1] + [0] * 5


def test_pictures_of_one_packet_each_are_there_with_it_though_no_fragment_was_seen() -> None:
    sent, camera = packets("h264", 60_000), Camera()
    coded = camera.read(sent)
    last = {packet.pts: i for i, packet in enumerate(sent)}
    assert [len(each.frames) for each in coded] == [1] * COUNT
    assert sum(told == last[each.unit.pts or 0] for told, each in camera.shown) >= COUNT - COUNT // GOP


def test_a_payloader_that_is_mistaken_for_another_costs_no_picture() -> None:
    """First pictures that go into one packet each; then those that do not, divided evenly: fragments look whole."""
    sent: list[Handed] = []
    for i, unit in enumerate(encoded("h264")):
        room = 60_000 if i < 8 else max(60, len(unit) // 3)
        sent += packets_of(nal_units(unit), i * TICKS, room, even)
    coded = Camera().read(sent)
    assert [pixels(frame) for each in coded for frame in each.frames] == true_pictures("h264")
    assert any(each.unit.mistaken for each in coded)
    assert not any(each.damaged or each.corrupt for each in coded)
