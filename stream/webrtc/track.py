"""The video track that aiortc sends to one viewer.

Owns the step from a shared picture to a frame of this viewer's encoder. Does not draw and does not encode.
"""

from __future__ import annotations

from fractions import Fraction

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.webrtc.feed import RTP_CLOCK_HZ, OverlayFeed

RTP_TIME_BASE = Fraction(1, RTP_CLOCK_HZ)


class OverlayTrack(MediaStreamTrack):
    """The newest overlay picture of one camera, whenever the encoder asks for the next."""

    kind = "video"

    def __init__(self, feed: OverlayFeed) -> None:
        super().__init__()
        self._feed = feed
        self._slot = feed.join()

    async def recv(self) -> av.VideoFrame:
        """The next picture; its pts is in 1/90000 s. Raises MediaStreamError once the track has ended."""
        try:
            picture = await anext(self._slot)
        except StopAsyncIteration as ended:
            self.stop()
            raise MediaStreamError from ended
        # The planes are shared and not copied; the frame is this viewer's own, because an encoder writes
        # `pict_type` into the frame that it is given.
        frame = av.VideoFrame.from_numpy_buffer(picture.planes, format="yuv420p")
        frame.pts = picture.rtp_ticks
        frame.time_base = RTP_TIME_BASE
        return frame

    def stop(self) -> None:
        """End the track and leave the feed. Idempotent."""
        self._feed.leave(self._slot)
        super().stop()
