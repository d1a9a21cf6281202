"""What a viewer's session carries: a camera's overlay, or its bare picture and the masks beside it.

Owns the order of codecs and the joint between a peer connection and the picture's track. Does not know signalling.
"""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from stream.statistics import CameraStatistics
from stream.webrtc.encoder import Codec
from stream.webrtc.feedback import listen
from stream.webrtc.feeds import OverlayFeeds
from stream.webrtc.glass import GlassReports
from stream.webrtc.mask_outlet import MaskOutlet
from stream.webrtc.offer import OfferError
from stream.webrtc.profiles import Narrowed, narrow
from stream.webrtc.rtp import take_over
from stream.webrtc.track import Feed, PictureTrack

CODEC_ORDER = ("video/H264", "video/VP8")
"""H.264 first: of both, it is the cheaper one to encode, and each is encoded once for all viewers."""


class Viewing:
    """What one viewer is shown; see `sessions.Media`. `statistics`: where it is counted."""

    def __init__(self, feed: Feed, statistics: CameraStatistics) -> None:
        self.masks = MaskOutlet(statistics.masks_dropped)
        self.glass = GlassReports(
            lambda shown: statistics.shown(shown.latency_s, shown.error_s), statistics.glass_refused
        )
        self.track = PictureTrack(feed, self.masks, self.glass)

    def prepare(self, connection: RTCPeerConnection) -> None:
        """Offer the picture, and listen to what the viewer says of it."""
        transceiver = connection.addTransceiver(self.track, direction="sendonly")
        # Before setRemoteDescription, and with its retransmissions: otherwise the order has no effect.
        transceiver.setCodecPreferences(codec_preferences())
        listen(transceiver.sender, self.track)
        take_over(transceiver.sender, self.track)
        connection.on("datachannel", self.masks.take)
        connection.on("datachannel", self.glass.take)

    def negotiated(self, connection: RTCPeerConnection, answer: str) -> None:
        """Send what the answer says. Raises OfferError where it holds no video to send."""
        self.track.codec = _sent_codec(answer)

    def on_ended(self, tell: Callable[[], object]) -> None:
        """Without pictures there is nothing to watch: the camera's hub closed, or they cannot be drawn."""
        self.track.on("ended", tell)

    def stop(self) -> None:
        """Leave the camera. Idempotent."""
        self.track.stop()


def viewing_as_data(all_feeds: OverlayFeeds, camera: str, offer: str) -> tuple[Viewing, Narrowed | None]:
    """A camera's picture with the masks beside it: its own packets and the offer that fits them, where the peer can be
    given these. Raises KeyError when there is no such camera.
    """
    feeds = all_feeds.of(camera)
    profile = feeds.passed.profile
    narrowed = None if profile is None else narrow(offer, profile)
    feed = feeds.plain if narrowed is None else feeds.passed
    return Viewing(feed, feeds.camera.statistics), narrowed


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
