"""NAL units and pictures of H.264 out of RTP's payloads, as FFmpeg hands them out without its parser: with a start code
where a NAL unit begins, bare where one goes on. A picture's end is known when the next one begins; its NAL units' ends
mostly before (see `fragments`).

Pure: no clock, no decoder. Light: the process that reads a camera imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from stream.sources.fragments import HEADER, FragmentSizes
from stream.sources.h264 import (
    AUD,
    IDR,
    PPS,
    SEI,
    SLICES,
    SPS,
    first_macroblock,
    is_recovery_point,
    starts_of,
)

TIME_BASE = Fraction(1, 90_000)
"""Of video in RTP, in seconds."""
BEGINNERS = (SEI, SPS, PPS, AUD)
"""After a picture's slices these belong to the next one (ITU-T H.264, 7.4.1.2.3)."""


@dataclass(eq=False)
class AccessUnit:
    """One picture, or one field of it, and what came with it. Grows while it is read."""

    pts: int | None
    arrival_s: float
    """Unix time at which its first packet came."""
    time_base: Fraction = TIME_BASE
    parts: list[bytes] = field(default_factory=list, repr=False)
    slices: int = 0
    """How many have begun."""
    first_macroblock: int = 0
    """Of the newest slice."""
    idr: bool = False
    keyframe: bool = False
    """Whether a decoder can begin here: an IDR picture or a recovery point."""
    hole: bool = False
    """Something of it was lost on the way."""
    mistaken: bool = False
    """A NAL unit of it went on after what was taken for its end."""

    @property
    def data(self) -> bytes:
        """All of it so far, in Annex B."""
        return b"".join(self.parts)

    @classmethod
    def of_packet(cls, packet: Any, arrival_s: float) -> Self:
        """All of it is in one packet of PyAV's."""
        return cls(packet.pts, arrival_s, packet.time_base, [bytes(packet)], keyframe=packet.is_keyframe)

    def ends_before(self, kind: int, macroblock: int, pts: int | None) -> bool:
        """Whether a NAL unit of this kind and time belongs to another one. `macroblock`: the first, of a slice."""
        if not self.slices:
            return False
        if pts != self.pts:
            return True
        if self.idr and kind in (SPS, PPS):  # GStreamer puts them before each slice of an IDR picture
            return False
        return kind in BEGINNERS or (kind in SLICES and macroblock <= self.first_macroblock)

    def take(self, kind: int, macroblock: int) -> None:
        """A NAL unit of it begins."""
        if kind in SLICES:
            self.slices += 1
            self.first_macroblock = macroblock
            self.idr = self.idr or kind == IDR
            self.keyframe = self.keyframe or self.idr


@dataclass(frozen=True, slots=True)
class NalUnit:
    """One is whole: the last of what its access unit has so far. `opens`: it is the first slice of its picture."""

    unit: AccessUnit
    kind: int
    opens: bool


@dataclass(frozen=True, slots=True)
class Over:
    """All of an access unit has come."""

    unit: AccessUnit


@dataclass(frozen=True, slots=True)
class Payload:
    """What FFmpeg makes of one RTP packet. `after_loss`: one before it is missing."""

    data: bytes = field(repr=False)
    pts: int | None
    arrival_s: float
    after_loss: bool = False


class AccessUnits:
    """Give it every packet of one connection, in order."""

    def __init__(self, time_base: Fraction = TIME_BASE) -> None:
        self._time_base = time_base
        self.sizes = FragmentSizes()
        self._unit: AccessUnit | None = None
        self._nal: list[bytes] = []
        """The packets of the NAL unit that is not known to be whole."""
        self._nal_unit: AccessUnit | None = None
        self._nal_opens = self._nal_has_hole = False

    def push(self, payload: Payload) -> Iterator[NalUnit | Over]:
        """What is whole by now, oldest first. To be taken one by one: access units grow meanwhile."""
        starts = starts_of(payload.data)
        if not starts or starts[0] != 0:  # no fragment has a start code in it: emulation prevention
            yield from self._go_on(payload)
            return
        if payload.after_loss and self._unit is not None:
            # It may have been of the next picture, of which the slices then tell that the first is missing.
            self._unit.hole = self._nal_has_hole = True
        yield from self._end_nal()
        for begin, end in zip(starts, [*starts[1:], None], strict=True):
            yield from self._begin(payload.data[begin:end], payload)
            if len(starts) > 1:  # several in a packet: none of them is a fragment
                yield self._whole()
        if len(starts) == 1 and self._is_last(payload.data, first=True):
            yield from self._end_nal()

    def end(self) -> Iterator[NalUnit | Over]:
        """Nothing more comes."""
        yield from self._end_nal()
        if self._unit is not None and self._unit.slices:
            yield Over(self._unit)
        self._unit = None

    def _go_on(self, payload: Payload) -> Iterator[NalUnit | Over]:
        """A packet without a start code."""
        unit = self._unit
        if unit is None:
            return
        if payload.pts != unit.pts and unit.slices:  # of a picture of which the beginning is lost
            yield from self._end_nal(lost=True)
            yield Over(unit)
            self._unit = AccessUnit(payload.pts, payload.arrival_s, self._time_base, hole=True)
            return
        unit.hole = unit.hole or payload.after_loss
        if payload.after_loss and self._nal and kind_of(self._nal[0]) not in SLICES:
            yield from self._end_nal(lost=True)
        if not self._nal:
            if not unit.hole and unit.parts:
                self.sizes.wrong()
                unit.mistaken = True
                unit.parts.append(payload.data)
            return
        self._nal_has_hole = self._nal_has_hole or payload.after_loss
        unit.parts.append(payload.data)
        if not self._nal_has_hole:
            self.sizes.went_on(_size(self._nal[-1], first=len(self._nal) == 1), first=len(self._nal) == 1)
        self._nal.append(payload.data)
        if self._is_last(payload.data, first=False):
            yield from self._end_nal()

    def _begin(self, data: bytes, payload: Payload) -> Iterator[Over]:
        """The first, or only, packet of a NAL unit."""
        body = data[_header(data) :]
        kind, macroblock = kind_of(data), first_macroblock(body)
        unit = self._unit
        if unit is not None and unit.ends_before(kind, macroblock, payload.pts):
            yield Over(unit)
            unit = None
        if unit is None:
            unit = self._unit = AccessUnit(payload.pts, payload.arrival_s, self._time_base)
        elif unit.pts != payload.pts:  # what came before its slices had a time of its own
            unit.pts, unit.arrival_s, unit.hole = payload.pts, payload.arrival_s, False
        unit.take(kind, macroblock)
        unit.keyframe = unit.keyframe or (kind == SEI and is_recovery_point(body))
        unit.parts.append(data)
        self._nal, self._nal_unit = [data], unit
        self._nal_opens = kind in SLICES and unit.slices == 1 and macroblock == 0
        self._nal_has_hole = False

    def _is_last(self, data: bytes, *, first: bool) -> bool:
        return not self._nal_has_hole and self.sizes.is_last(_size(data, first=first), first=first)

    def _end_nal(self, *, lost: bool = False) -> Iterator[NalUnit]:
        if not self._nal:
            return
        if not (lost or self._nal_has_hole):
            self.sizes.ended([_size(part, first=i == 0) for i, part in enumerate(self._nal)])
        yield self._whole()

    def _whole(self) -> NalUnit:
        assert self._nal_unit is not None
        kind, self._nal = kind_of(self._nal[0]), []
        return NalUnit(self._nal_unit, kind, self._nal_opens)


def kind_of(data: bytes) -> int:
    """nal_unit_type of a NAL unit that has its start code."""
    at = _header(data)
    return data[at] & 0x1F if len(data) > at else 0


def _header(data: bytes) -> int:
    """Bytes of the start code."""
    return 3 if data[2] else 4


def _size(data: bytes, *, first: bool) -> int:
    return len(data) - _header(data) - HEADER if first else len(data)
