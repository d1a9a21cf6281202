"""The video track that aiortc sends to one viewer: pictures that are encoded already.

Owns the step from a viewer's queue to aiortc. Does not draw and does not encode: aiortc packs a packet into RTP, where
it would encode a frame.
"""

from __future__ import annotations

from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.webrtc.encoder import Codec
from stream.webrtc.fanout import ViewerQueue
from stream.webrtc.feed import OverlayFeed


class OverlayTrack(MediaStreamTrack):
    """The overlay of one camera, from a keyframe on. It joins the camera's viewers when aiortc asks for the first
    picture, which is when the peer is connected.

    `codec` is what was negotiated; set it before that.
    """

    kind = "video"

    def __init__(self, feed: OverlayFeed) -> None:
        super().__init__()
        self.codec: Codec = "H264"
        self.queue: ViewerQueue | None = None
        self._feed = feed

    async def recv(self) -> av.Packet[Any]:
        """The next picture; its pts is in 1/90000 s. Raises MediaStreamError once the track has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        if self.queue is None:
            self.queue = self._feed.join(self.codec)
        try:
            return (await anext(self.queue)).packet
        except StopAsyncIteration as ended:
            self.stop()
            raise MediaStreamError from ended

    def stop(self) -> None:
        """End the track and leave the feed. Idempotent."""
        if self.queue is not None:
            self._feed.leave(self.queue)
        super().stop()
