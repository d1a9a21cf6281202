"""What a publisher's session carries: a camera's video, received; its sound is accepted and thrown away.

Owns the seam to aiortc's receiver, which would decode without bounds. Does not know signalling.
"""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription

from stream.sources.coded import Codec
from stream.sources.published import Doorway
from stream.webrtc.assembly import PictureAssembler
from stream.webrtc.viewing import codec_preferences

_CODECS: dict[str, Codec] = {"video/H264": "H264", "video/VP8": "VP8"}

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
"""Of aiortc 1.14 to 1.16: no other way leads past its unbounded queues."""


class Publishing:
    """One publisher's video; see `sessions.Media`. Raises OccupiedError where the camera has one already."""

    def __init__(self, doorway: Doorway) -> None:
        self.publication = doorway.enter()

    def prepare(self, connection: RTCPeerConnection) -> None:
        """Take video, of those codecs that can be decoded."""
        connection.addTransceiver("video", direction="recvonly").setCodecPreferences(codec_preferences())

    def negotiated(self, connection: RTCPeerConnection, answer: str) -> None:
        """Put pictures together here instead of in aiortc's receiver, and take no sound."""
        codecs = {
            int(codec.payloadType or 0): _CODECS[codec.mimeType]
            for media in SessionDescription.parse(answer).media
            for codec in media.rtp.codecs
            if codec.mimeType in _CODECS
        }
        assembler = PictureAssembler(self.publication.put, codecs)
        self.publication.need_keyframe = assembler.need_keyframe
        self.publication.ask_keyframe = assembler.ask_keyframe
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "video":
                setattr(transceiver.receiver, _JITTER_BUFFER, assembler)
            else:
                transceiver.receiver._enabled = False

    def on_ended(self, tell: Callable[[], object]) -> None:
        """The camera takes no more: nothing came for too long, or it is closed."""
        self.publication.on_end(tell)

    def stop(self) -> None:
        """Make room for the next publisher. Idempotent."""
        self.publication.end()
