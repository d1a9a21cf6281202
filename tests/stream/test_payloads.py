"""Packing that a peer unpacks to the same bytes, and that the kernel can cut apart."""

from __future__ import annotations

import itertools

from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import VpxPayloadDescriptor, vp8_depayload
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.webrtc.payloads import MAX_PAYLOAD, h264_payloads, nal_units, vp8_payloads
from stream.webrtc.rtp import MOST_BYTES, MOST_SEGMENTS, equally_long

# No start code inside, no zero at the end, as the standard has it (ITU-T H.264, 7.4.1).
UNITS = st.lists(
    st.tuples(st.integers(1, 23), st.integers(1, 9000)).map(
        lambda kind: bytes([0x60 | kind[0]]) + bytes(1 + i % 251 for i in range(kind[1]))
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(
    units=UNITS,
    codes=st.lists(st.sampled_from([b"\x00\x00\x01", b"\x00\x00\x00\x01"]), min_size=6, max_size=6),
)
def test_h264_comes_out_as_it_went_in(units: list[bytes], codes: list[bytes]) -> None:
    stream = b"".join(code + unit for code, unit in zip(codes, units, strict=False))
    assert list(nal_units(stream)) == units
    payloads = h264_payloads(stream)
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert list(nal_units(b"".join(map(h264_depayload, payloads)))) == units


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=20_000), st.integers(0, 100_000))
def test_vp8_comes_out_as_it_went_in(data: bytes, picture: int) -> None:
    payloads = vp8_payloads(data, picture)
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert b"".join(map(vp8_depayload, payloads)) == data
    for i, payload in enumerate(payloads):
        descriptor, _ = VpxPayloadDescriptor.parse(payload)
        assert descriptor.picture_id == picture % (1 << 15)
        assert descriptor.partition_start == (i == 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 1240), max_size=200))
def test_packets_go_in_order_and_each_group_can_be_cut_apart(lengths: list[int]) -> None:
    packets = [bytes([i % 256]) * length for i, length in enumerate(lengths)]
    groups = list(equally_long(packets))
    assert list(itertools.chain.from_iterable(groups)) == packets
    for group in groups:
        assert len(group) <= MOST_SEGMENTS
        assert sum(map(len, group)) <= MOST_BYTES
        size = len(group[0])
        whole = b"".join(group)
        assert [whole[i : i + size] for i in range(0, len(whole), size)] == group


def test_a_large_picture_is_one_or_two_groups() -> None:
    payloads = h264_payloads(b"\x00\x00\x01\x65" + bytes([7]) * 30_000)
    assert len(payloads) == 26
    assert len(list(equally_long(payloads))) == 1
