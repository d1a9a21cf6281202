"""What a viewer says of the pictures that it gets: RTCP from one peer to the queue of its pictures.

Owns the seam to aiortc, whose sender acts on RTCP only where it encodes by itself.
"""

from __future__ import annotations

from aiortc import RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from stream.webrtc.track import PictureTrack

LOST_SCALE = 256
"""RFC 3550, section 6.4.1: the fraction lost is an 8 bit fixed point number."""


def listen(sender: RTCRtpSender, track: PictureTrack) -> None:
    """From now on, `sender`'s peer asks `track` for keyframes (PLI, FIR: RFC 4585, RFC 5104) and tells it what the line
    takes. Retransmissions stay aiortc's.
    """
    pass_on = sender._handle_rtcp_packet

    async def handle(packet: AnyRtcpPacket) -> None:
        _note(packet, sender._ssrc, track)
        await pass_on(packet)

    def send_keyframe() -> None:
        if track.queue is not None:
            track.queue.request_keyframe()

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]
    sender._send_keyframe = send_keyframe  # type: ignore[method-assign]


def _note(packet: AnyRtcpPacket, ssrc: int, track: PictureTrack) -> None:
    """Tell the viewer's rate what a report says of our stream; a damaged one says nothing."""
    if track.queue is None:
        return
    rate = track.queue.rate
    if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
        for report in packet.reports:
            if report.ssrc == ssrc:
                rate.lost(report.fraction_lost / LOST_SCALE)
    elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
        try:
            bps, ssrcs = unpack_remb_fci(packet.fci)
        except ValueError:
            return
        if ssrc in ssrcs:
            rate.estimated(bps)
