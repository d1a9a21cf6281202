"""From the packets of an H.264 camera to its pictures, each as soon as its last packet is there.

Owns when the decoder gets what. FFmpeg's parser knows a picture's end by the beginning of the next one. Here the
decoder is given a picture when it has as many whole slices as the one before, and says itself whether these were all
(`chunks`: it waits for more where they were not). Wherever that is not so the picture is decoded when the next one
begins, as if it came from the parser: where something is missing, where the number of slices changes, and, for good,
where the decoder holds pictures back (B-frames, fields).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags2
from av.video.frame import PictureType

from stream.sources.access_units import TIME_BASE, AccessUnit, AccessUnits, NalUnit, Over, Payload
from stream.sources.coded_units import Coded, decoded
from stream.sources.damage import DamageLog
from stream.sources.h264 import SLICES

CODEC = "h264"
MISTAKES = 8
"""After so many pictures that were not all there, though nothing was lost, the next ones are waited for."""


class H264Reading:
    """Give it every packet of one connection, in order. `codec`: the stream's own; `damage` is open."""

    def __init__(self, codec: Any, damage: DamageLog, time_base: Fraction = TIME_BASE) -> None:
        self._codec, self._damage = codec, damage
        self._units = AccessUnits(time_base)
        self._begun = False
        self._at_once = self._never_at_once = False
        """Whether the decoder gives each picture as soon as it has it; that it does not, and will not."""
        self._slices: dict[bool, int] = {}
        """Of the newest IDR picture, of the newest other one."""
        self._whole = 0
        """Slices of the newest picture that are whole."""
        self._given: AccessUnit | None = None
        """The newest picture, if the decoder was given it before it was over."""
        self._shown = self._failed = self._went_on = False
        """Of that one: whether its picture came; whether the decoder refused it; whether there were more slices."""
        self._mistakes = 0

    def push(self, packet: Any, arrival_s: float) -> Iterator[Coded]:
        """Take a packet: one RTP payload. Gives what there is to show by now."""
        lost = self._damage.missed()
        for event in self._units.push(Payload(bytes(packet), packet.pts, arrival_s, lost)):
            yield from self._handle(event)

    def end(self) -> Iterator[Coded]:
        """The stream has ended."""
        for event in self._units.end():
            yield from self._handle(event)

    def _handle(self, event: NalUnit | Over) -> Iterator[Coded]:
        if isinstance(event, NalUnit):
            if event.kind in SLICES:
                yield from self._slice(event)
            return
        yield from self._over(event.unit)
        self._whole, self._given = 0, None
        self._shown = self._failed = self._went_on = False

    def _slice(self, nal: NalUnit) -> Iterator[Coded]:
        """A slice is whole."""
        unit = nal.unit
        if unit is self._given:
            self._went_on = True
        elif nal.opens or self._whole:
            self._whole += 1
            if self._at_once and not unit.hole and self._whole == self._expected(unit):
                yield from self._try(unit)

    def _try(self, unit: AccessUnit) -> Iterator[Coded]:
        """Maybe it is all there."""
        self._given = unit
        frames, failed = self._decode(unit, chunk=True)
        self._failed = failed
        self._shown = bool(frames)
        if frames:
            yield self._coded(unit, frames)

    def _expected(self, unit: AccessUnit) -> int | None:
        return self._slices.get(unit.idr, self._slices.get(not unit.idr))

    def _over(self, unit: AccessUnit) -> Iterator[Coded]:
        """All of a picture has come."""
        if unit is not self._given:
            yield from self._decode_over(unit)
        elif not self._shown:
            yield from self._tried_in_vain(unit)
        elif unit.mistaken:
            self._damage.mark()
        if self._went_on and not unit.hole:
            self._mistakes += 1
        if self._whole and not unit.hole:
            self._slices[unit.idr] = unit.slices

    def _tried_in_vain(self, unit: AccessUnit) -> Iterator[Coded]:
        if unit.mistaken and not unit.hole:  # what the decoder said was about a part of it
            self._damage.forget()
        unit.hole = self._damage.of(CODEC, keyframe=unit.keyframe and not unit.hole) or unit.hole
        if unit.hole or unit.mistaken or self._failed or self._went_on:
            yield from self._decode_over(unit)
        else:  # the decoder has all of it, and holds the picture back
            self._mistakes += 1
            yield self._coded(unit, [])

    def _decode_over(self, unit: AccessUnit) -> Iterator[Coded]:
        """As after FFmpeg's parser."""
        if self._begun or unit.keyframe:
            self._begun = True
            frames, failed = self._decode(unit, chunk=False)
            yield self._coded(unit, frames, corrupt=int(failed))

    def _coded(self, unit: AccessUnit, frames: list[Any], corrupt: int = 0) -> Coded:
        if unit.hole:
            self._damage.mark()
        damaged = self._damage.of(CODEC, keyframe=unit.keyframe and not unit.hole)
        coded = Coded.of(unit, frames, damaged=damaged, corrupt=corrupt)
        reordered = any(frame.pts != unit.pts or frame.pict_type == PictureType.B for frame in frames)
        self._never_at_once = self._never_at_once or reordered or self._mistakes >= MISTAKES
        well = len(coded.frames) == 1 and not (damaged or coded.corrupt)
        self._at_once = well and not self._never_at_once
        return coded

    def _decode(self, unit: AccessUnit, *, chunk: bool) -> tuple[list[Any], bool]:
        """What the decoder gives for an access unit, and whether it could do nothing with it."""
        packet = av.Packet(unit.data)
        packet.pts, packet.time_base = unit.pts, unit.time_base
        flags = self._codec.flags2
        self._codec.flags2 = flags | Flags2.chunks if chunk else flags & ~Flags2.chunks
        return decoded(self._codec, packet)
