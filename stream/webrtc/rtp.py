"""The pictures of one viewer, as RTP packets on the wire.

Owns headers, sequence numbers and retransmissions, and the seam to aiortc's sender, whose own loop packs and sends
each packet by itself: with many viewers of one encoder, that is what the server spends its time on. Here a picture is
packed once for all viewers, and a viewer's packets of it leave in one system call where the kernel can cut them apart
(UDP generic segmentation offload). RTCP stays aiortc's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence
from struct import Struct, pack
from typing import Any

from aioice.ice import StunProtocol
from aiortc import RTCRtpSender
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import State
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, wrap_rtx
from pylibsrtp import SRTP_MAX_TRAILER_LEN, Error, Session
from pylibsrtp._binding import ffi, lib

from stream.webrtc.encoder import EncodedPicture
from stream.webrtc.track import PictureTrack

logger = logging.getLogger(__name__)

HISTORY = 512
"""Packets of a viewer that can be sent again: a few seconds."""

UDP_SEGMENT = 103
"""linux/udp.h; Python's socket module has no name for it."""

HEADER = Struct("!BBHLL")
"""RFC 3550, section 5.1."""

NTP_UNIX_S = 2_208_988_800
"""From 1900 to 1970."""

MOST_SEGMENTS = 64
MOST_BYTES = 65_000


def take_over(sender: RTCRtpSender, track: PictureTrack) -> None:
    """Let `sender`, which has not started yet, send the pictures of `track` in this way."""
    pictures = PictureSender(sender, track)
    sender._run_rtp = pictures.run  # type: ignore[method-assign]
    sender._retransmit = pictures.retransmit  # type: ignore[method-assign, assignment]


_Sent = tuple[int, int, int, bytes]
"""Number, timestamp, marker and payload of a packet that may have to be sent again; made for each packet, so light."""


class PictureSender:
    """One viewer's RTP stream (RFC 3550). `origin`: the timestamp of picture time 0."""

    def __init__(self, sender: RTCRtpSender, track: PictureTrack) -> None:
        self.origin = track.origin
        self._sender = sender
        self._track = track
        # In the lower half: a wrap in the first packets would confuse SRTP (RFC 3711, section 3.3.1).
        self._number = random.getrandbits(15)
        self._history: list[_Sent | None] = [None] * HISTORY
        self._packets = self._octets = 0
        self._payload_type = 0
        self._again = random.getrandbits(15)
        self._extension: tuple[bytes, bytes | None] | None = None
        self._line = _Line(sender)

    async def run(self, codec: RTCRtpCodecParameters) -> None:
        """Send pictures until the track ends or aiortc cancels; takes the place of the sender's own loop."""
        self._set("rtp_started")
        assert codec.payloadType is not None
        try:
            while True:
                picture = await self._track.next_picture()
                packets = self._packed(picture, codec.payloadType)
                await self._line.send(packets)
        except (asyncio.CancelledError, ConnectionError, MediaStreamError):
            pass
        except Exception:
            # aiortc's stop() waits for the end of this: whatever the cause, it must come.
            logger.exception("a viewer's pictures cannot be sent")
        finally:
            self._track.stop()
            self._line.close()
            self._set("rtp_exited")

    async def retransmit(self, number: int) -> None:
        """Send a packet again that was reported as lost (RFC 4585 NACK), as RFC 4588 wants it where negotiated."""
        sent = self._history[number % HISTORY]
        if sent is None or sent[0] != number:
            return
        _, timestamp, marker, payload = sent
        payload_type = self._get("rtx_payload_type")
        packet = RtpPacket(self._payload_type, marker, number, timestamp, self._sender._ssrc, payload)
        if payload_type is not None:
            packet = wrap_rtx(packet, payload_type, self._again, self._sender._rtx_ssrc)
            self._again = (self._again + 1) & 0xFFFF
        now = ntp_time(time.time())
        packet.extensions = HeaderExtensions(abs_send_time=now >> 14 & 0xFFFFFF, mid=self._get("mid"))
        await self._line.send([packet.serialize(self._get("rtp_header_extensions_map"))])

    def _packed(self, picture: EncodedPicture, payload_type: int) -> list[bytes]:
        """A picture's packets, before encryption; what RTCP tells of them is noted."""
        self._payload_type = payload_type
        now = ntp_time(time.time())
        timestamp = (self.origin + picture.ticks) & 0xFFFFFFFF
        if self._extension is None:
            self._extension = extension_around(self._get("rtp_header_extensions_map"), self._get("mid"))
        before, after = self._extension
        extension = before + (now >> 14 & 0xFFFFFF).to_bytes(3) + after if after is not None else before
        first = 0x90 if extension else 0x80
        ssrc, history, number = self._sender._ssrc, self._history, self._number
        packets, last = [], len(picture.payloads) - 1
        for i, payload in enumerate(picture.payloads):
            marker = 1 if i == last else 0
            header = HEADER.pack(first, marker << 7 | payload_type, number, timestamp, ssrc)
            packets.append(b"".join((header, extension, payload)))
            history[number % HISTORY] = (number, timestamp, marker, payload)
            number = (number + 1) & 0xFFFF
        self._number = number
        self._packets += len(packets)
        self._octets += picture.size
        self._set_figure("ntp_timestamp", now)
        self._set_figure("rtp_timestamp", timestamp)
        self._set_figure("packet_count", self._packets)
        self._set_figure("octet_count", self._octets)
        return packets

    def _get(self, name: str) -> Any:
        return getattr(self._sender, f"_RTCRtpSender__{name}")

    def _set(self, event: str) -> None:
        self._get(event).set()

    def _set_figure(self, name: str, value: int) -> None:
        setattr(self._sender, f"_RTCRtpSender__{name}", value)


class _Line:
    """Encrypts packets and sends them to one peer."""

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender
        self._socket: socket.socket | None = None
        self._of: StunProtocol | None = None
        self._segments = hasattr(socket.socket, "sendmsg") and os.name == "posix"

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send RTP packets. Raises ConnectionError when there is no connection."""
        dtls = self._sender.transport
        if dtls._state is not State.CONNECTED:
            raise ConnectionError("the peer is not connected")
        pair = dtls.transport.iceGatherer._connection._nominated.get(1)
        if pair is None:
            raise ConnectionError("the peer cannot be reached")
        encrypted = protected(dtls._tx_srtp, packets)
        protocol = pair.protocol
        for group in equally_long(encrypted):
            if len(group) == 1 or not self._send_at_once(protocol, group, pair.remote_addr):
                for packet in group:
                    await protocol.send_data(packet, pair.remote_addr)

    def close(self) -> None:
        """Give the socket back. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_at_once(self, protocol: Any, group: Sequence[bytes], address: tuple[str, int]) -> bool:
        """One system call for all; False where that cannot be: over a relay, or where the kernel or network cannot."""
        if not self._segments or not isinstance(protocol, StunProtocol):
            return False
        if self._socket is None or self._of is not protocol:
            self.close()
            given = protocol.transport.get_extra_info("socket")
            self._socket, self._of = socket.socket(fileno=os.dup(given.fileno())), protocol
        size = pack("=H", len(group[0]))
        try:
            self._socket.sendmsg(group, [(socket.IPPROTO_UDP, UDP_SEGMENT, size)], 0, address)
        except BlockingIOError:
            return False  # full: one by one they wait in asyncio's buffer
        except OSError:
            self._segments = False
            return False
        return True


def extension_around(known: HeaderExtensionsMap, mid: str) -> tuple[bytes, bytes | None]:
    """The extension of an RTP header (RFC 8285) before and after the time of sending, of which it has 3 bytes; all and
    None where the peer wants no such time. The rest is the same for all packets of a viewer.
    """
    forms = []
    for sent in (0, 0xFFFFFF):
        profile, value = known.set(HeaderExtensions(abs_send_time=sent, mid=mid))
        forms.append(pack("!HH", profile, len(value) // 4) + value if value else b"")
    whole, other = forms
    place = next((i for i, (one, two) in enumerate(zip(whole, other, strict=True)) if one != two), None)
    return (whole, None) if place is None else (whole[:place], whole[place + 3 :])


def ntp_time(unix_s: float) -> int:
    """As RTCP and abs-send-time have it: seconds since 1900 in 32.32 bits (RFC 3550, section 4)."""
    return int((unix_s + NTP_UNIX_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def protected(session: Session, packets: Sequence[bytes]) -> list[bytes]:
    """RTP packets encrypted by libsrtp (RFC 3711), as `session.protect` does each; half of that one's time is spent
    around the call. Raises ValueError for a packet that is too long, and pylibsrtp's Error.
    """
    memory, buffer, context = session._cdata, session._buffer, session._srtp[0]
    room, protect, done = len(memory) - SRTP_MAX_TRAILER_LEN, lib.srtp_protect, lib.srtp_err_status_ok
    size = ffi.new("int *")
    encrypted = []
    for packet in packets:
        length = len(packet)
        if length > room:
            raise ValueError("packet is too long")
        buffer[0:length] = packet
        size[0] = length
        status = protect(context, memory, size)
        if status != done:
            raise Error(status)
        encrypted.append(buffer[0 : size[0]])
    return encrypted


def equally_long(packets: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Runs that the kernel can cut apart by itself: packets of one length, of which the last may be shorter."""
    group: list[bytes] = []
    for packet in packets:
        fits = group and len(group) < MOST_SEGMENTS and len(group[0]) * (len(group) + 1) <= MOST_BYTES
        if not fits or len(packet) > len(group[0]) or len(group[-1]) < len(group[0]):
            if group:
                yield group
            group = []
        group.append(packet)
    if group:
        yield group
