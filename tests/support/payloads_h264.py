"""H.264 as RTP carries it (RFC 6184), as FFmpeg hands it out without its parser. Written from the RFC, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

START_CODE = b"\0\0\0\1"


@dataclass(frozen=True)
class Handed:
    """What FFmpeg makes of one RTP packet; and what it keeps for itself: whether the packet ends its NAL unit."""

    data: bytes
    pts: int
    ends: bool = True


def nal_units(annex_b: bytes) -> list[bytes]:
    """The NAL units between the start codes."""
    parts = annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part.rstrip(b"\0") for part in parts[1:]]


def filled(length: int, room: int) -> list[int]:
    """All pieces but the last are as large as can be: what payloaders do (5.8 leaves it to them)."""
    return [room] * (length // room) + ([length % room] if length % room else [])


def even(length: int, room: int) -> list[int]:
    """As few pieces as can be, as alike as can be."""
    count = -(-length // room)
    return [length // count + (i < length % count) for i in range(count)]


def packets_of(
    units: Iterable[bytes], pts: int, mtu: int, divide: Callable[[int, int], list[int]] = filled
) -> list[Handed]:
    """NAL units of one timestamp, one a packet where they fit (5.6), in fragments (FU-A, 5.8) else."""
    handed: list[Handed] = []
    room = mtu - 12
    for unit in units:
        if len(unit) <= room:
            handed.append(Handed(START_CODE + unit, pts))
            continue
        at = 1
        sizes = divide(len(unit) - 1, room - 2)
        for i, size in enumerate(sizes):
            head = START_CODE + unit[:1] if i == 0 else b""
            handed.append(Handed(head + unit[at : at + size], pts, i == len(sizes) - 1))
            at += size
    return handed


def aggregated(units: Iterable[bytes], pts: int) -> Handed:
    """Several NAL units in one packet (STAP-A, 5.7.1)."""
    return Handed(b"".join(START_CODE + unit for unit in units), pts)
