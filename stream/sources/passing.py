"""The reader's way for the camera's own encoded pictures: which of them can be passed on, and as what.

Owns what is known of the format. Knows nothing about reading or decoding.
"""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

from av.video.frame import PictureType

from stream.sources.coded_units import Coded
from stream.sources.h264 import H264Look
from stream.sources.outbox import send_message
from stream.sources.packet_box import Packet, PacketBox


class Shown(NamedTuple):
    """A decoded picture, the Unix time at which it arrived, and its time in ticks of its time base."""

    frame: Any
    arrival_s: float
    pts: int


class Passing:
    """Tells the parent through `channel` what the camera sends, and sends it."""

    def __init__(self, channel: socket.socket) -> None:
        self.packets = PacketBox(channel)
        self._channel = channel
        self._look: H264Look | None = None
        self._format: dict[str, Any] = {"codec": "", "profile": None, "reordered": False}

    def begin(self, codec: str, extradata: bytes) -> None:
        """The stream is open."""
        self._look = H264Look(extradata) if codec == "h264" else None
        self._tell_format(codec=codec)

    def put(self, coded: Coded, timed: list[Shown]) -> None:
        """Keep an access unit for viewers who get the camera's own pictures; `timed`: what it gave."""
        look, unit = self._look, coded.unit
        if look is None:
            return
        for frame, _, _ in timed:
            if frame.pict_type == PictureType.B or None is not unit.pts != frame.pts is not None:
                self._tell_format(reordered=True)
        if self._format["reordered"]:
            return
        # Some cameras call pictures keyframes with which a decoder can begin only after some more (recovery points).
        prefix = look.prefix(coded.data) if unit.keyframe else None
        if prefix is not None:
            self._tell_format(profile=look.profile)
        arrival_s, pts = (timed[0].arrival_s, timed[0].pts) if timed else (time.time(), None)
        base = (unit.time_base.numerator, unit.time_base.denominator)
        self.packets.put(Packet(coded.data, arrival_s, pts, base, prefix is not None, prefix or b""))

    def _tell_format(self, **found: Any) -> None:
        """Tell the parent what the camera sends, where that is news."""
        if self._format | found != self._format:
            self._format |= found
            send_message(self._channel, {"type": "video", **self._format})
