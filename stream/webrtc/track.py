"""The video track of one viewer, of which aiortc knows only that it is there.

Owns the step from a viewer's queue to whoever sends its pictures. Does not draw, encode or send.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.webrtc.encoder import Codec, EncodedPicture
from stream.webrtc.fanout import ViewerQueue
from stream.webrtc.glass import GlassReports
from stream.webrtc.mask_outlet import MaskOutlet


class Feed(Protocol):
    """Where a viewer's pictures come from. `origin`: the RTP timestamp of ticks 0."""

    origin: int

    def join(self, codec: Codec) -> ViewerQueue:
        """One more viewer."""
        ...

    def leave(self, queue: ViewerQueue) -> None:
        """One less. Idempotent."""
        ...


class PictureTrack(MediaStreamTrack):
    """The pictures of one camera, from a keyframe on. It joins the camera's viewers when the first picture is asked
    for, which is when the peer is connected.

    `codec` is what was negotiated; set it before that. `masks`: what is said of each picture goes there; `glass` is
    told what was sent.
    """

    kind = "video"

    def __init__(
        self, feed: Feed, masks: MaskOutlet | None = None, glass: GlassReports | None = None
    ) -> None:
        super().__init__()
        self.origin = feed.origin
        self.masks = masks or MaskOutlet()
        self.glass = glass or GlassReports()
        self.codec: Codec = "H264"
        self.queue: ViewerQueue | None = None
        self._feed = feed

    async def next_picture(self) -> EncodedPicture:
        """The next picture. Raises MediaStreamError once the track has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        if self.queue is None:
            self.queue = self._feed.join(self.codec)
        try:
            picture = await anext(self.queue)
        except StopAsyncIteration as ended:
            self.stop()
            raise MediaStreamError from ended
        self.masks.send(picture)
        self.glass.sent((self.origin + picture.ticks) & 0xFFFFFFFF, picture)
        return picture

    async def recv(self) -> NoReturn:
        """Frames for an encoder of aiortc's own: there are none (see `rtp`)."""
        raise MediaStreamError

    def stop(self) -> None:
        """End the track and leave the feed. Idempotent."""
        if self.queue is not None:
            self._feed.leave(self.queue)
        self.masks.close()
        super().stop()
