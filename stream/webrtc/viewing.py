"""What a viewer's session carries: a camera's overlay, sent.

Owns the order of codecs and the joint between a peer connection and the overlay's track. Does not know signalling.
"""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from stream.webrtc.encoder import Codec
from stream.webrtc.feed import OverlayFeed
from stream.webrtc.feedback import listen
from stream.webrtc.offer import OfferError
from stream.webrtc.rtp import take_over
from stream.webrtc.track import OverlayTrack

CODEC_ORDER = ("video/H264", "video/VP8")
"""H.264 first: of both, it is the cheaper one to encode, and each is encoded once for all viewers."""


class Viewing:
    """One viewer's overlay; see `sessions.Media`."""

    def __init__(self, feed: OverlayFeed) -> None:
        self.track = OverlayTrack(feed)

    def prepare(self, connection: RTCPeerConnection) -> None:
        """Offer the overlay, and listen to what the viewer says of it."""
        transceiver = connection.addTransceiver(self.track, direction="sendonly")
        # Before setRemoteDescription, and with its retransmissions: otherwise the order has no effect.
        transceiver.setCodecPreferences(codec_preferences())
        listen(transceiver.sender, self.track)
        take_over(transceiver.sender, self.track)

    def negotiated(self, connection: RTCPeerConnection, answer: str) -> None:
        """Send what the answer says. Raises OfferError where it holds no video to send."""
        self.track.codec = _sent_codec(answer)

    def on_ended(self, tell: Callable[[], object]) -> None:
        """Without pictures there is nothing to watch: the camera's hub closed, or they cannot be drawn."""
        self.track.on("ended", tell)

    def stop(self) -> None:
        """Leave the camera. Idempotent."""
        self.track.stop()


def codec_preferences() -> list[RTCRtpCodecCapability]:
    """Of all that aiortc can: what this project sends and receives, with retransmissions."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    wanted = [codec for name in CODEC_ORDER for codec in codecs if codec.mimeType == name]
    return wanted + [codec for codec in codecs if codec.mimeType == "video/rtx"]


def _sent_codec(answer: str) -> Codec:
    """What an answer says that the video is sent with: the first codec of its first video section that is sent."""
    for media in SessionDescription.parse(answer).media:
        if media.kind == "video" and media.port and media.direction in ("sendonly", "sendrecv"):
            return "H264" if media.rtp.codecs[0].mimeType == "video/H264" else "VP8"
    raise OfferError("no video section can be answered")
