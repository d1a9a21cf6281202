"""RTP packets of a publisher's video, put together to pictures.

Owns their order, what is done about lost ones, and when a keyframe is asked for. Does not decode. It stands where
aiortc has its jitter buffer, which shows a picture when the next one begins, holds everything back at a lost packet
until 512 have come, and does not see whether what comes after it can be decoded. Here a picture is complete with the
packet that says so (the marker of RFC 3550, section 5.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aiortc.rtp import RtpPacket

from stream.sources.coded import Codec, CodedPicture

RETRANSMISSION_S = 0.15
"""A packet that is missing may come again (NACK, RFC 4585) for so long."""
KEYFRAME_INTERVAL_S = 0.5
"""A keyframe (PLI) is asked for again after that."""
MAX_PACKETS = 1024
"""Behind a missing one, or of one picture."""


class PictureAssembler:
    """Hands every picture that can be decoded to `take`, in order; `codecs` are by payload type.

    After a loss nothing is handed over up to the next keyframe.
    """

    def __init__(
        self,
        take: Callable[[CodedPicture], None],
        codecs: Mapping[int, Codec],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._take, self._codecs = take, codecs
        self._monotonic, self._wall = monotonic, wall
        self._ssrc: int | None = None
        self._asked_s = -KEYFRAME_INTERVAL_S
        self._keyframe_wanted = False
        self._ticks = self._timestamp = 0
        self._restart(0)

    def _restart(self, expected: int) -> None:
        """Go on with this sequence number, and a keyframe."""
        self._expected = expected
        self._early: dict[int, tuple[RtpPacket, float]] = {}
        self._missing_since_s: float | None = None
        self.need_keyframe()

    def need_keyframe(self) -> None:
        """Hand nothing over before the next keyframe, and ask for it when a packet comes."""
        self._keyframe_needed = True
        self._parts: list[bytes] = []
        self._keyframe = False

    def ask_keyframe(self) -> None:
        """Ask for one when a packet comes, and go on meanwhile."""
        self._keyframe_wanted = True

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """A packet came, its payload without the codec's descriptor in `_data`; whether to ask for a keyframe. The
        second value is what aiortc would decode by itself: nothing.
        """
        now_s = self._monotonic()
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._restart(packet.sequence_number)
        ahead = (packet.sequence_number - self._expected + 0x8000) % 0x10000 - 0x8000
        if abs(ahead) >= MAX_PACKETS:
            self._restart(packet.sequence_number)
            ahead = 0
        if ahead >= 0:
            self._early[packet.sequence_number] = (packet, self._wall())
            self._consume()
            self._give_up_missing(now_s)
        return self._ask(now_s), None

    def _consume(self) -> None:
        while self._expected in self._early:
            self._use(*self._early.pop(self._expected))
            self._expected = (self._expected + 1) % 0x10000

    def _give_up_missing(self, now_s: float) -> None:
        if not self._early:
            self._missing_since_s = None
        elif self._missing_since_s is None:
            self._missing_since_s = now_s
        elif now_s - self._missing_since_s >= RETRANSMISSION_S:
            self._missing_since_s = None
            self.need_keyframe()
            self._expected = min(self._early, key=lambda number: (number - self._expected) % 0x10000)
            self._consume()
            if self._early:
                self._missing_since_s = now_s

    def _ask(self, now_s: float) -> bool:
        waits = self._keyframe_needed and not self._parts
        if not (waits or self._keyframe_wanted) or now_s - self._asked_s < KEYFRAME_INTERVAL_S:
            return False
        self._asked_s = now_s
        return True

    def _use(self, packet: RtpPacket, arrival_s: float) -> None:
        """The next packet in order."""
        data: bytes = packet._data  # type: ignore[attr-defined]
        codec = self._codecs.get(packet.payload_type)
        if not data or codec is None:
            return  # padding, which ends no picture
        if self._parts and packet.timestamp != self._timestamp:
            self._finish()
        if not self._parts:
            self._keyframe = begins_keyframe(codec, packet.payload, data)
            if self._keyframe_needed and not self._keyframe:
                return
            self._timestamp, self._arrival_s, self._codec = packet.timestamp, arrival_s, codec
        self._parts.append(data)
        if len(self._parts) > MAX_PACKETS:
            self.need_keyframe()
        elif packet.marker:
            self._finish()

    def _finish(self) -> None:
        data, self._parts = b"".join(self._parts), []
        self._keyframe_needed = False
        self._keyframe_wanted &= not self._keyframe
        step = (self._timestamp - self._ticks + 0x80000000) % 0x100000000 - 0x80000000
        self._ticks += step
        self._take(CodedPicture(self._codec, data, self._ticks, self._arrival_s, self._keyframe))


def begins_keyframe(codec: Codec, payload: bytes, data: bytes) -> bool:
    """Whether a packet is the first one of a keyframe.

    VP8: the start of partition 0 (RFC 7741, section 4.2) of a frame whose P bit is 0 (section 4.3). H.264: a sequence
    parameter set or the start of an IDR slice (RFC 6184, section 5.2), alone, fragmented or aggregated.
    """
    if codec == "VP8":
        return payload[0] & 0x17 == 0x10 and data[0] & 1 == 0
    return data.startswith(b"\0\0\0\1") and len(data) > 4 and data[4] & 0x1F in (5, 7)
