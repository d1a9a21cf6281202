"""A published camera's own encoded pictures, for viewers who get them as they are.

Owns what they are said to be, and where who joins begins. Nothing is copied. All runs on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stream.sources.coded import TIME_BASE, CodedPicture
from stream.sources.group import Group
from stream.sources.h264 import H264Look
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat


class PublishedPackets:
    """From one publisher to a tap, from `attach` to `detach`."""

    def __init__(self, tap: PacketTap, ask_keyframe: Callable[[], None]) -> None:
        self._tap, self._ask_keyframe = tap, ask_keyframe
        self._look = H264Look()
        self._group: Group[EncodedPacket] = Group()
        self._format: VideoFormat | None = None
        self._newest_ticks: int | None = None
        self._wanted = self._following = self._reordered = False

    def attach(self) -> None:
        """The publisher is there."""
        self._tap.attach(self._want, self._ask_keyframe)

    def detach(self) -> None:
        """It left. Idempotent."""
        self._tap.detach(self._want)

    def put(self, picture: CodedPicture) -> None:
        """The next one that it sent."""
        packet = self._packet(picture)
        self._say_format(picture)
        if picture.codec != "H264":
            return
        self._group.add(packet, len(packet.data), keyframe=packet.keyframe)
        self._following = self._wanted and (self._following or packet.keyframe)
        if self._following:
            self._tap.put(packet)

    def _packet(self, picture: CodedPicture) -> EncodedPacket:
        # They come in the order of decoding: only with B-frames one is shown before one that came earlier.
        self._reordered |= self._newest_ticks is not None and picture.ticks < self._newest_ticks
        self._newest_ticks = picture.ticks
        prefix = self._look.prefix(picture.data) if picture.codec == "H264" and picture.keyframe else None
        data = prefix + picture.data if prefix else picture.data
        return EncodedPacket(data, picture.arrival_s, picture.ticks, TIME_BASE, keyframe=prefix is not None)

    def _say_format(self, picture: CodedPicture) -> None:
        profile = self._look.profile if picture.codec == "H264" else None
        found = VideoFormat(picture.codec.lower(), profile, self._reordered)
        if found != self._format:
            self._format = found
            self._tap.formatted(found)

    def _want(self, wanted: bool) -> None:
        """Somebody watches, who begins with what came since the keyframe; or nobody does any more."""
        self._wanted = wanted
        self._following = wanted and len(self._group) > 0
        if wanted:
            count = len(self._group)
            if not count:  # browsers send keyframes only when they are asked
                self._ask_keyframe()
            for index, packet in enumerate(self._group):
                self._tap.put(replace(packet, past=count - index))
