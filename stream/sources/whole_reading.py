"""From the packets of a camera to its pictures where each packet is all of one: every codec but H.264 over RTSP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stream.sources.access_units import AccessUnit
from stream.sources.coded_units import Coded, decoded
from stream.sources.damage import DamageLog

LATE_PARSERS = ("h264", "hevc")
"""FFmpeg hands out an access unit of these when the first bytes of the next one arrive. So the first bytes of
the one it hands out arrived when it handed out the one before."""


class WholeReading:
    """Give it every packet of one connection, in order. `codec`: the stream's own; `damage` is open; `opened_s`: when
    the stream was opened, Unix time.
    """

    def __init__(self, codec: Any, damage: DamageLog, opened_s: float) -> None:
        self._codec, self._damage = codec, damage
        self._arrived_s = opened_s
        self._first = True
        self._keyframe_seen = False

    def push(self, packet: Any, arrival_s: float) -> Iterator[Coded]:
        """Take a packet. Gives what there is to show by now."""
        name = self._codec.name
        unit = AccessUnit.of_packet(packet, self._arrived_s if name in LATE_PARSERS else arrival_s)
        self._arrived_s = arrival_s
        self._keyframe_seen = self._keyframe_seen or packet.is_keyframe
        if self._keyframe_seen:
            frames, failed = decoded(self._codec, packet)
            damaged = self._damage.of(name, keyframe=packet.is_keyframe)
            yield Coded.of(unit, frames, damaged=damaged, corrupt=int(failed))
        elif self._first:
            # The parser was not there yet when the stream was opened: it may be a parameter set, and without it
            # a camera that does not announce them would be seen from its second keyframe on.
            decoded(self._codec, packet)
            self._damage.forget()
        self._first = False

    def end(self) -> Iterator[Coded]:
        """The stream has ended."""
        return iter(())
