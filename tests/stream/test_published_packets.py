"""A published camera's pictures, as they came, for who watches."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from stream.sources.coded import TIME_BASE, CodedPicture
from stream.sources.group import GROUP_PICTURES
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat
from stream.sources.published_packets import PublishedPackets

SPS, PPS, IDR, SLICE = (
    b"\0\0\0\1" + unit for unit in (b"\x67\x42\xe0\x1f", b"\x68\xce", b"\x65\x88", b"\x41\x9a")
)
STEP = 3600


def picture(number: int, *, keyframe: bool = False, ticks: int | None = None) -> CodedPicture:
    data = (SPS + PPS + IDR if keyframe else SLICE) + b"%06d" % number
    return CodedPicture("H264", data, STEP * number if ticks is None else ticks, 1000 + number / 25, keyframe)


@dataclass
class Watching:
    """A listener, and a publisher that is asked for keyframes."""

    tap: PacketTap = field(default_factory=PacketTap)
    packets: list[EncodedPacket] = field(default_factory=list)
    formats: list[VideoFormat] = field(default_factory=list)
    breaks: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.publisher = PublishedPackets(self.tap, self.ask)
        self.publisher.attach()

    def ask(self) -> None:
        self.asked += 1

    def on_packet(self, packet: EncodedPacket) -> None:
        self.packets.append(packet)

    def on_lost(self, count: int) -> None:
        raise AssertionError(count)

    def on_break(self) -> None:
        self.breaks += 1

    def on_format(self, found: VideoFormat) -> None:
        self.formats.append(found)


def test_bytes_and_times_are_those_that_came() -> None:
    watching = Watching()
    watching.tap.listen(watching)
    sent = [picture(number, keyframe=number % 5 == 0) for number in range(12)]
    for each in sent:
        watching.publisher.put(each)
    assert [packet.data for packet in watching.packets] == [each.data for each in sent]
    assert all(packet.data is each.data for packet, each in zip(watching.packets, sent, strict=True)), (
        "no copies"
    )
    assert [(p.pts, p.arrival_s) for p in watching.packets] == [(each.ticks, each.arrival_s) for each in sent]
    assert {packet.time_base for packet in watching.packets} == {TIME_BASE}
    assert watching.formats == [VideoFormat("h264", "42e01f")]
    assert watching.tap.format is not None
    assert watching.tap.format.passable


@given(st.lists(st.sampled_from(["key", "next", "join", "leave"]), max_size=40))
def test_who_joins_begins_with_a_keyframe_and_misses_nothing_after(steps: list[str]) -> None:
    watching = Watching()
    listening, sent = False, 0
    for step in steps:
        if step == "join" and not listening:
            watching.packets.clear()
            watching.tap.listen(watching)
            listening = True
            past = [packet.past for packet in watching.packets]
            assert past == list(range(len(past), 0, -1))
        elif step == "leave":
            watching.tap.listen(None)
            listening = False
        elif step in ("key", "next"):
            watching.publisher.put(picture(sent, keyframe=step == "key"))
            sent += 1
        if not listening:
            continue
        numbers = [int(packet.data[-6:]) for packet in watching.packets]
        assert not numbers or watching.packets[0].keyframe
        assert numbers == list(range(sent - len(numbers), sent))


def test_browsers_are_asked_for_a_keyframe_where_nobody_could_begin() -> None:
    watching = Watching()
    for number in range(GROUP_PICTURES + 1):
        watching.publisher.put(picture(number, keyframe=number == 0))
    assert watching.asked == 0
    watching.tap.listen(watching)
    assert watching.asked == 1
    assert watching.packets == []
    watching.publisher.put(picture(GROUP_PICTURES + 1))
    watching.publisher.put(picture(GROUP_PICTURES + 2, keyframe=True))
    assert [packet.keyframe for packet in watching.packets] == [True]
    watching.tap.ask_keyframe()
    assert watching.asked == 2
    watching.publisher.detach()
    watching.tap.ask_keyframe()
    assert (watching.asked, watching.breaks, watching.tap.format) == (2, 1, None)


def test_pictures_in_another_order_and_other_codecs_are_for_nobody() -> None:
    watching = Watching()
    watching.tap.listen(watching)
    watching.publisher.put(picture(0, keyframe=True))
    watching.publisher.put(picture(1, ticks=3 * STEP))
    watching.publisher.put(picture(2, ticks=2 * STEP))
    assert watching.formats[-1] == VideoFormat("h264", "42e01f", reordered=True)
    assert not watching.formats[-1].passable
    before = len(watching.packets)
    watching.publisher.put(CodedPicture("VP8", b"\x10", 4 * STEP, 1001.0, keyframe=True))
    assert watching.formats[-1].codec == "vp8"
    assert not watching.formats[-1].passable
    assert len(watching.packets) == before


def test_a_keyframe_without_parameters_is_none_to_begin_with() -> None:
    watching = Watching()
    watching.tap.listen(watching)
    watching.publisher.put(CodedPicture("H264", IDR, 0, 1000.0, keyframe=True))
    assert watching.packets == []
    assert watching.tap.format is not None
    assert not watching.tap.format.known
