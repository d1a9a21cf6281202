"""Encoded pictures as RTP payloads: H.264 (RFC 6184) and VP8 (RFC 7741).

Owns the packing, which is the same for all viewers. Does not know headers, sequence numbers or transports.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

MAX_PAYLOAD = 1200
"""Bytes of one payload: with headers and authentication it stays below 1280, which every path carries (RFC 8200)."""

STAP_A, FU_A = 24, 28
FU_START, FU_END = 0x80, 0x40
NRI = 0x60


def h264_payloads(data: bytes) -> list[bytes]:
    """The NAL units of an access unit in Annex B: small ones together (STAP-A), large ones in fragments (FU-A).

    All fragments of a unit but the last are equally long.
    """
    payloads: list[bytes] = []
    small: list[bytes] = []
    for unit in nal_units(data):
        if sum(2 + len(each) for each in (*small, unit)) < MAX_PAYLOAD:
            small.append(unit)
            continue
        payloads += _together(small)
        small = []
        payloads += [unit] if len(unit) <= MAX_PAYLOAD else _fragments(unit)
    return payloads + _together(small)


def nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream, without their start codes (ITU-T H.264, annex B)."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        begin = start + 3
        start = data.find(b"\x00\x00\x01", begin)
        unit = data[begin : start if start >= 0 else len(data)].rstrip(
            b"\x00"
        )  # a longer start code, or padding
        if unit:
            yield unit


def _together(units: list[bytes]) -> list[bytes]:
    """One payload of all units; none of none."""
    if len(units) < 2:
        return units
    importance = max(unit[0] & NRI for unit in units)
    return [b"".join([bytes([STAP_A | importance]), *(pack("!H", len(unit)) + unit for unit in units)])]


def _fragments(unit: bytes) -> list[bytes]:
    indicator, kind = (unit[0] & NRI) | FU_A, unit[0] & 0x1F
    size = MAX_PAYLOAD - 2
    parts = [unit[i : i + size] for i in range(1, len(unit), size)]
    last = len(parts) - 1
    return [
        bytes([indicator, kind | (FU_START if i == 0 else 0) | (FU_END if i == last else 0)]) + part
        for i, part in enumerate(parts)
    ]


def vp8_payloads(data: bytes, picture: int) -> list[bytes]:
    """A VP8 frame in payloads, of which all but the last are equally long; `picture` is counted up by one for each."""
    size = MAX_PAYLOAD - 4
    # X=1, then I=1: a picture identifier of 15 bits follows. S=1 at the start of the frame's only partition.
    number = pack("!H", 0x8000 | (picture & 0x7FFF))
    return [
        bytes([0x90 if i == 0 else 0x80, 0x80]) + number + data[i : i + size]
        for i in range(0, len(data), size)
    ]
