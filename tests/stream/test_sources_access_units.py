"""NAL units and pictures come out as they went in, however RTP divides them, and the newest one without waiting."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.access_units import AccessUnit, AccessUnits, NalUnit, Over, Payload
from stream.sources.fragments import FragmentSizes
from stream.sources.h264 import IDR, PPS, SEI, SLICES, SPS, first_macroblock, is_recovery_point
from tests.support.payloads_h264 import START_CODE, Handed, aggregated, even, filled, packets_of

TICKS = 3600
SLICE_HEADERS = (b"\x80", b"\x40", b"\x60", b"\x20")
"""How they begin: with macroblock 0, 1, 2, 3."""
MTUS = (100, 300, 1400)


def nal(kind: int, size: int, seed: int, number: int = 0) -> bytes:
    """A NAL unit with `size` bytes of content, without zeros, as nothing in one looks like a start code. `number`: of
    the slice in its picture."""
    noise = random.Random(seed).choices(range(1, 256), k=max(1, size))
    begin = SLICE_HEADERS[number] if kind in SLICES else b""
    return bytes([0x60 | kind]) + begin + bytes(noise)


@st.composite
def pictures(draw: st.DrawFn, least: int = 1) -> list[list[bytes]]:
    """NAL units picture by picture; an IDR picture, with parameter sets, now and then."""
    made: list[list[bytes]] = []
    for number in range(draw(st.integers(least, 12))):
        idr = number == 0 or draw(st.booleans())
        sizes = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=4))
        units = [nal(SPS, 20, number), nal(PPS, 4, number)] if idr else []
        units += [nal(IDR if idr else 1, size, i * 97 + number, i) for i, size in enumerate(sizes)]
        made.append(units)
    return made


def annex_b(units: list[bytes]) -> bytes:
    return b"".join(START_CODE + unit for unit in units)


def handed(made: list[list[bytes]], mtu: int) -> list[Handed]:
    return [packet for i, units in enumerate(made) for packet in packets_of(units, i * TICKS, mtu)]


def read(
    packets: list[Handed], units: AccessUnits | None = None, lost: frozenset[int] = frozenset()
) -> tuple[list[AccessUnit], list[tuple[int, int, bytes]]]:
    """What is over; and of each whole NAL unit the number of the packet, the time and what its picture has by then."""
    units = units or AccessUnits()
    over: list[AccessUnit] = []
    whole: list[tuple[int, int, bytes]] = []
    events = (
        (i, event)
        for i, packet in enumerate(packets)
        if i not in lost
        for event in units.push(Payload(packet.data, packet.pts, float(i), i - 1 in lost))
    )
    ends = ((len(packets), event) for each in [units] for event in each.end())
    for source in (events, ends):
        for i, event in source:
            if isinstance(event, Over):
                over.append(event.unit)
            else:
                assert isinstance(event, NalUnit)
                whole.append((i, event.unit.pts or 0, event.unit.data))
    return over, whole


@given(pictures(), st.sampled_from(MTUS), st.sampled_from([filled, even]))
def test_pictures_come_out_as_they_went_in_whatever_the_packets(made, mtu, divide) -> None:  # type: ignore[no-untyped-def]
    packets = [p for i, units in enumerate(made) for p in packets_of(units, i * TICKS, mtu, divide)]
    over, whole = read(packets)
    assert [unit.data for unit in over] == [annex_b(units) for units in made]
    assert [unit.pts for unit in over] == [i * TICKS for i in range(len(made))]
    assert not any(unit.hole for unit in over)
    assert [unit.keyframe for unit in over] == [units[0][0] & 0x1F == SPS for units in made]
    assert [unit.slices for unit in over] == [sum(u[0] & 0x1F in SLICES for u in units) for units in made]
    # each NAL unit is whole once, in order, and never before its last packet
    so_far = [annex_b(units[: n + 1]) for units in made for n in range(len(units))]
    assert [data for _, _, data in whole] == so_far or any(unit.mistaken for unit in over)
    last = [i for i, packet in enumerate(packets) if packet.ends]
    assert divide is even or not any(unit.mistaken for unit in over)
    if not any(unit.mistaken for unit in over):
        assert all(told >= last[n] for n, (told, _, _) in enumerate(whole))


@given(pictures(least=3), st.sampled_from(MTUS))
def test_arrival_is_that_of_the_first_packet(made, mtu) -> None:  # type: ignore[no-untyped-def]
    packets = handed(made, mtu)
    firsts = [next(i for i, p in enumerate(packets) if p.pts == n * TICKS) for n in range(len(made))]
    assert [unit.arrival_s for unit in read(packets)[0]] == firsts


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.sampled_from(MTUS))
def test_once_learned_a_nal_unit_is_whole_with_its_last_packet(sizes: list[int], mtu: int) -> None:
    units = AccessUnits()
    full = mtu - 14
    taught = [[nal(IDR, 3 * full + full // 2, 1)], [nal(1, 3 * full + full // 2, 2)]]
    read(handed(taught, mtu), units)
    packets = handed([[nal(1, size, i)] for i, size in enumerate(sizes)], mtu)
    _, whole = read(packets, units)
    ends = [i for i, packet in enumerate(packets) if packet.ends]
    for told, end in zip((i for i, _, _ in whole), ends, strict=True):
        data = packets[end].data
        payload = len(data) - len(START_CODE) - 1 if data.startswith(START_CODE) else len(data)
        assert (told == end) == (payload < full), "who fills the packet may go on"


@given(pictures(least=4), st.sampled_from(MTUS), st.data())
def test_what_is_lost_is_known_and_spoils_nothing_else(made, mtu, data) -> None:  # type: ignore[no-untyped-def]
    packets = handed(made, mtu)
    lost = data.draw(st.frozensets(st.integers(0, len(packets) - 2), max_size=4))
    over, _ = read(packets, lost=lost)
    assert len({unit.pts for unit in over}) == len(over)
    whole = {i * TICKS: annex_b(units) for i, units in enumerate(made)}
    touched = {packets[i].pts for i in lost}
    for unit in over:
        if unit.pts not in touched:  # parameter sets may be before it, of a picture of which all else is lost
            assert unit.data.endswith(whole[unit.pts or 0])
        elif (
            len(made[(unit.pts or 0) // TICKS]) == 1
        ):  # one slice and nothing else: it is all there or has a hole
            assert unit.hole or unit.data.endswith(whole[unit.pts or 0])


def test_an_even_payloader_is_never_taken_for_one_that_fills() -> None:
    units = AccessUnits()
    made = [
        [nal(IDR if i == 0 else 1, size, i)] for i, size in enumerate([13_000, 3000, 900, 2900, 700, 8000])
    ]
    packets = [p for i, each in enumerate(made) for p in packets_of(each, i * TICKS, 1400, even)]
    over, _ = read(packets, units)
    assert [unit.data for unit in over] == [annex_b(each) for each in made]
    assert not any(unit.hole or unit.mistaken for unit in over)
    assert not units.sizes.regular, "from now on nothing is told by sizes"


def test_a_unit_that_goes_on_after_its_end_is_whole_and_ends_the_guessing() -> None:
    units = AccessUnits()
    read(handed([[nal(IDR, 5000, 0)], [nal(1, 5000, 1)]], 1400), units)
    whole = START_CODE + nal(1, 600, 2)
    packets = [Handed(whole[:300], 0), Handed(whole[300:], 0), Handed(START_CODE + nal(1, 500, 3), TICKS)]
    over, told = read(packets, units)
    assert [unit.mistaken for unit in over] == [True, False]
    assert not any(unit.hole for unit in over)
    assert over[0].data == whole, "who gets the camera's own pictures gets all of it"
    assert told[-1][0] == len(packets), "nothing is told before the next one begins any more"


def test_several_nal_units_in_one_packet_are_whole() -> None:
    units = [nal(SPS, 20, 0), nal(PPS, 4, 0), nal(IDR, 400, 0), nal(IDR, 300, 1, 1)]
    over, whole = read([aggregated(units, 0)])
    assert [i for i, _, _ in whole] == [0, 0, 0, 0]
    assert [unit.data for unit in over] == [annex_b(units)]


def test_pictures_that_bear_one_time_are_told_apart() -> None:
    made = [[nal(IDR, 300, 0)], [nal(1, 200, 1)], [nal(SPS, 20, 2), nal(IDR, 300, 2)]]
    packets = [p for units in made for p in packets_of(units, 7, 1400)]
    over, _ = read(packets)
    assert [unit.slices for unit in over] == [1, 1, 1]
    assert b"".join(unit.data for unit in over) == b"".join(annex_b(units) for units in made)


def test_parameter_sets_between_the_slices_of_an_idr_picture_end_nothing() -> None:
    """As GStreamer's payloader sends them."""
    sets = [nal(SPS, 20, 0), nal(PPS, 4, 0)]
    units = [*sets, nal(IDR, 400, 0), *sets, nal(IDR, 300, 1, 1)]
    over, _ = read(packets_of(units, 0, 1400))
    assert [unit.data for unit in over] == [annex_b(units)]


def test_parameter_sets_of_an_older_time_belong_to_the_next_picture() -> None:
    ahead = [nal(SPS, 20, 0), nal(PPS, 4, 0)]
    packets = [*packets_of(ahead, 5, 1400), *packets_of([nal(IDR, 300, 0)], 9, 1400)]
    over, _ = read(packets)
    assert [(unit.pts, unit.arrival_s, unit.data) for unit in over] == [
        (9, 2.0, annex_b([*ahead, nal(IDR, 300, 0)]))
    ]


def test_a_recovery_point_is_a_keyframe() -> None:
    point = bytes([SEI, 6, 1, 0x84, 0x80])
    assert is_recovery_point(point)
    assert is_recovery_point(bytes([SEI, 5, 2, 6, 6, 6, 1, 0x84, 0x80])), "after another message"
    assert not is_recovery_point(bytes([SEI, 5, 3, 6, 1, 0x84, 0x80]))
    over, _ = read(
        [*packets_of([point, nal(1, 300, 0)], 0, 1400), *packets_of([nal(1, 300, 1)], TICKS, 1400)]
    )
    assert [unit.keyframe for unit in over] == [True, False]


@pytest.mark.parametrize(
    ("header", "macroblock"),
    [(b"\x80", 0), (b"\x40", 1), (b"\x60", 2), (b"\x20", 3), (b"\x01\x40", 159), (b"", 0)],
)
def test_the_first_macroblock_of_a_slice_is_read(header: bytes, macroblock: int) -> None:
    """Exp-Golomb codes (ITU-T H.264, table 9-2)."""
    assert first_macroblock(b"\x65" + header) == macroblock


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    st.integers(600, 1400),
    st.sampled_from([filled, even]),
)
def test_no_packet_is_taken_for_a_last_one_that_is_not(sizes, room, divide) -> None:  # type: ignore[no-untyped-def]
    """The sizes alone, of payloaders that fill their packets and, after a first fragment, those that divide evenly."""
    known = FragmentSizes()
    if divide is even:
        known.went_on(room, first=True)
    for size in sizes:
        pieces = divide(size, room) if size > room + 1 else [size]
        for i, piece in enumerate(pieces):
            if i < len(pieces) - 1:
                assert not known.is_last(piece, first=i == 0)
                known.went_on(piece, first=i == 0)
        known.ended(pieces)
