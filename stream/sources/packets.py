"""A camera's own encoded pictures, on their way from whoever reads it to whoever shows them.

Owns the hand-over, across reconnects. Knows neither the reader nor the viewers. All runs on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a camera sends. `profile`: of H.264, profile_idc, constraint flags and level_idc in six hexadecimal digits
    (RFC 6184's profile-level-id). `reordered`: pictures are not shown in the order in which they come (B-frames).
    """

    codec: str
    profile: str | None = None
    reordered: bool = False

    @property
    def known(self) -> bool:
        """Whether enough was seen of it: of H.264, an IDR picture."""
        return self.codec != "h264" or self.profile is not None or self.reordered

    @property
    def passable(self) -> bool:
        """Whether WebRTC viewers can be given it as it is: none of them puts pictures in another order."""
        return self.codec == "h264" and self.profile is not None and not self.reordered


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One encoded picture: an access unit in Annex B, an IDR picture with its SPS and PPS.

    `pts` and `arrival_s` are those of the `Frame` that was decoded from it (`captured_at_s`); None where there is none.
    `past`: it is older than whoever joined, and so many of those (this one included) are still to come.
    """

    data: bytes = field(repr=False)
    arrival_s: float
    pts: int | None
    time_base: Fraction
    keyframe: bool
    past: int = 0


class PacketListener(Protocol):
    """Told of encoded pictures, in order. Must not block."""

    def on_packet(self, packet: EncodedPacket) -> None:
        """The next one."""

    def on_lost(self, count: int) -> None:
        """So many before the next one were not taken in time; the next one is an IDR picture."""

    def on_break(self) -> None:
        """The camera went away: what comes next does not go on from here."""

    def on_format(self, found: VideoFormat) -> None:
        """The camera's pictures are in this format from now on."""


class PacketTap:
    """The encoded pictures of one camera, for one listener at a time; none are asked for while there is none."""

    def __init__(self) -> None:
        self.format: VideoFormat | None = None
        """Of the connection that there is; None while there is none, or it is not known yet."""
        self._listener: PacketListener | None = None
        self._ask: Callable[[bool], None] | None = None
        self._ask_keyframe: Callable[[], None] | None = None

    def listen(self, listener: PacketListener | None) -> None:
        """From now on tell `listener`; None: nobody."""
        self._listener = listener
        if self._ask is not None:
            self._ask(listener is not None)

    def ask_keyframe(self) -> None:
        """A viewer cannot begin before the next IDR picture; the connection is told, where it can ask for one."""
        if self._ask_keyframe is not None:
            self._ask_keyframe()

    def attach(self, ask: Callable[[bool], None], ask_keyframe: Callable[[], None] | None = None) -> None:
        """A connection is there; `ask` tells it whether its encoded pictures are wanted."""
        self._ask, self._ask_keyframe = ask, ask_keyframe
        if self._listener is not None:
            ask(True)

    def detach(self, ask: Callable[[bool], None]) -> None:
        """The connection that was attached with `ask` is gone. Idempotent."""
        if self._ask == ask:
            self._ask, self._ask_keyframe, self.format = None, None, None
            if self._listener is not None:
                self._listener.on_break()

    def formatted(self, found: VideoFormat) -> None:
        """The connection's pictures are in this format from now on."""
        self.format = found
        if self._listener is not None:
            self._listener.on_format(found)

    def put(self, packet: EncodedPacket, lost: int = 0) -> None:
        """The next encoded picture, before which `lost` were lost."""
        if self._listener is not None:
            if lost:
                self._listener.on_lost(lost)
            self._listener.on_packet(packet)
