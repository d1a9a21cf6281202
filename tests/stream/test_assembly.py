"""Packets to pictures: what is lost, late or hostile costs pictures up to a keyframe, and never shows half of one."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.coded import CodedPicture
from stream.webrtc.assembly import KEYFRAME_INTERVAL_S, MAX_PACKETS, RETRANSMISSION_S, PictureAssembler

STEP = 3600


def packets(
    pictures: int, each: int = 3, *, first: int = 65_530, keyframes: tuple[int, ...] = (0,)
) -> list[RtpPacket]:
    """VP8 pictures of so many packets; the data of packet j of picture i is the key bit, i and j."""
    made = []
    for i in range(pictures):
        for j in range(each):
            packet = RtpPacket(payload_type=97, marker=int(j == each - 1))
            packet.sequence_number = (first + len(made)) % 0x10000
            packet.timestamp, packet.ssrc = (0xFFFFF000 + i * STEP) % 2**32, 1
            data = bytes([int(i not in keyframes), i, j])
            packet.payload = bytes([0x10 if j == 0 else 0]) + data
            packet._data = data  # type: ignore[attr-defined]
            made.append(packet)
    return made


@dataclass
class Line:
    """An assembler, its clock, and what came out."""

    now_s: float = 100.0
    shown: list[CodedPicture] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.assembler = PictureAssembler(
            self.shown.append, {97: "VP8"}, monotonic=lambda: self.now_s, wall=lambda: self.now_s
        )

    def send(self, *sent: RtpPacket) -> None:
        for packet in sent:
            ask, nothing = self.assembler.add(packet)
            assert nothing is None
            self.asked += ask

    @property
    def numbers(self) -> list[int]:
        for picture in self.shown:
            parts = [picture.data[i : i + 3] for i in range(0, len(picture.data), 3)]
            assert [part[2] for part in parts] == list(range(len(parts))), "whole, and in order"
        return [picture.data[1] for picture in self.shown]


def test_a_picture_is_complete_with_its_last_packet() -> None:
    line = Line()
    sent = packets(4)
    for i, packet in enumerate(sent):
        line.send(packet)
        assert len(line.shown) == (i + 1) // 3
    assert line.asked == 0, "it began with a keyframe"
    assert [picture.keyframe for picture in line.shown] == [True, False, False, False]
    ticks = [picture.ticks for picture in line.shown]
    assert [two - one for one, two in itertools.pairwise(ticks)] == [STEP] * 3, "over the wrap"


def test_arrival_is_that_of_the_first_packet() -> None:
    line = Line()
    for packet in packets(1):
        line.send(packet)
        line.now_s += 1
    assert line.shown[0].arrival_s == 100.0


def test_without_a_marker_the_next_picture_ends_it() -> None:
    line = Line()
    sent = packets(2)
    sent[2].marker = 0
    line.send(*sent)
    assert line.numbers == [0, 1]


def test_the_first_picture_is_asked_for_when_it_is_no_keyframe() -> None:
    line = Line()
    sent = packets(4, keyframes=(3,))
    line.send(*sent)
    assert (line.asked, line.numbers) == (1, [3])


def test_a_keyframe_is_asked_for_again_after_a_while() -> None:
    line = Line()
    sent = packets(9, keyframes=(8,))
    line.send(*sent[:6])
    assert line.asked == 1
    line.now_s += KEYFRAME_INTERVAL_S
    line.send(*sent[6:12])
    assert line.asked == 2


def test_a_packet_that_is_sent_again_in_time_costs_nothing() -> None:
    line = Line()
    sent = packets(5)
    line.send(*sent[:4], *sent[5:9])
    line.now_s += RETRANSMISSION_S / 2
    line.send(sent[4], *sent[9:], sent[4])
    assert (line.asked, line.numbers) == (0, [0, 1, 2, 3, 4])


def test_a_lost_packet_costs_pictures_up_to_the_keyframe_that_is_asked_for() -> None:
    line = Line()
    sent = packets(8, keyframes=(0, 6))
    line.send(*sent[:4], *sent[5:9])
    assert (line.asked, line.numbers) == (0, [0])
    line.now_s += RETRANSMISSION_S
    line.send(*sent[9:])
    assert (line.asked, line.numbers) == (1, [0, 6, 7])
    line.send(sent[4])
    assert line.numbers == [0, 6, 7], "too late"


def test_another_source_begins_anew() -> None:
    line = Line()
    line.send(*packets(2))
    other = packets(2, first=7)
    for packet in other:
        packet.ssrc = 2
    line.send(*other)
    assert line.numbers == [0, 1, 0, 1]


def test_padding_and_unknown_types_are_left_out() -> None:
    line = Line()
    sent = packets(3)
    padding = RtpPacket(
        payload_type=97, sequence_number=(65_530 + 9) % 0x10000, timestamp=sent[-1].timestamp, ssrc=1
    )
    padding._data = b""  # type: ignore[attr-defined]
    line.send(*sent, padding)
    sent[0].payload_type = 0
    assert line.numbers == [0, 1, 2]
    unknown = packets(1, first=65_530 + 10)
    for packet in unknown:
        packet.payload_type = 0
    line.send(*unknown)
    assert line.numbers == [0, 1, 2]


@pytest.mark.parametrize("endless", ["picture", "hole"])
def test_nothing_grows_without_bound(endless: str) -> None:
    line = Line()
    sent = packets(1, each=1)
    base = sent[0]
    for i in range(3 * MAX_PACKETS):
        packet = RtpPacket(
            payload_type=97, sequence_number=(i + (2 if endless == "hole" and i else 0)) % 0x10000
        )
        packet.timestamp, packet.ssrc, packet.payload = base.timestamp, 1, base.payload
        packet._data = base._data  # type: ignore[attr-defined]
        line.send(packet)
        assert len(line.assembler._early) <= MAX_PACKETS
        assert len(line.assembler._parts) <= MAX_PACKETS


@given(seed=st.integers(0, 10_000), loss=st.floats(0, 0.3))
def test_whatever_is_lost_or_disordered_pictures_are_whole_and_in_order(seed: int, loss: float) -> None:
    rng, line = random.Random(seed), Line()
    sent = [packet for packet in packets(40, keyframes=(0, 10, 20, 30)) if rng.random() >= loss]
    for i in range(len(sent) - 1):
        if rng.random() < 0.2:
            sent[i], sent[i + 1] = sent[i + 1], sent[i]
    for packet in sent:
        line.now_s += 0.01
        line.send(packet)
    assert line.numbers == sorted(set(line.numbers))
    after = [two for one, two in zip(line.numbers, line.numbers[1:], strict=False) if two != one + 1]
    assert set(after) <= {10, 20, 30}, "after a loss nothing is shown before a keyframe"
