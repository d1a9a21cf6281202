"""One video encoder for all who watch a camera with the same codec.

Owns the codec's settings. Knows pictures and bits per second; nothing of viewers, or of when a keyframe is due.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from stream.webrtc.payloads import h264_payloads, vp8_payloads

RTP_CLOCK_HZ = 90_000
RTP_TIME_BASE = Fraction(1, RTP_CLOCK_HZ)

Codec = Literal["H264", "VP8"]
NOMINAL_FPS = 25
"""The pace that an encoder is told. libx264 goes by it rather than by the pictures' times (tune zerolatency), so its
bits a second are scaled to what the pace really is; libvpx goes by the times."""

RATE_STEP = 0.25
"""A rate that differs by more makes a new encoder, which starts with a keyframe: libvpx cannot be told of another one,
and libx264 not of the buffer that makes it follow within a second."""

NO_MORE_KEYFRAMES = 1 << 20
"""Pictures between two keyframes that nobody asked for."""


@dataclass(frozen=True, slots=True)
class MaskText:
    """What is said of a picture beside it: a `stream.wire` text, and the RTP timestamp in it."""

    text: str = field(repr=False)
    rtp_timestamp: int


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture, packed for RTP; an H.264 keyframe is an IDR picture with SPS and PPS.

    `seq` is the number of the camera's frame; `ticks` is its time in 1/90000 s, and grows with every picture; `size` is
    in bytes; `masks` is there for viewers who draw them themselves; `captured_at_s` (Unix time) is None where
    nothing can be learned of when it is shown. Shared by all viewers.
    """

    seq: int
    ticks: int
    keyframe: bool
    payloads: Sequence[bytes] = field(repr=False, compare=False)
    masks: MaskText | None = field(default=None, repr=False, compare=False)
    captured_at_s: float | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of its payloads."""
        return sum(map(len, self.payloads))


class VideoEncoder:
    """Pictures in, packets out, none held back. Not safe to call from two threads at once."""

    def __init__(self, codec: Codec) -> None:
        self.codec: Codec = codec
        self._context: VideoCodecContext | None = None
        self._rate = 0
        self._count = random.getrandbits(15)

    def encode(
        self, planes: NDArray[np.uint8], seq: int, ticks: int, *, keyframe: bool, bps: float, fps: float
    ) -> EncodedPicture:
        """Encode I420 `planes`, (3 H / 2, W) with even H and W, which are not written to.

        `keyframe`: whoever joins must be able to start with it; the first picture, and the first of another size, is
        one anyway. `bps`: bits a second that are aimed at, for pictures that come `fps` a second.
        """
        rate = round(bps * NOMINAL_FPS / max(fps, 1.0) if self.codec == "H264" else bps)
        context = self._ready(planes.shape[1], planes.shape[0] * 2 // 3, rate)
        frame = av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
        frame.pts, frame.time_base = ticks, RTP_TIME_BASE
        if keyframe:
            frame.pict_type = PictureType.I
        packets = context.encode(frame)
        data = b"".join(bytes(packet) for packet in packets)
        self._count += 1
        payloads = h264_payloads(data) if self.codec == "H264" else vp8_payloads(data, self._count)
        return EncodedPicture(seq, ticks, any(packet.is_keyframe for packet in packets), payloads)

    def _ready(self, width: int, height: int, rate: int) -> VideoCodecContext:
        """The context for pictures of this size and this rate, or about it."""
        context = self._context
        same_size = context is not None and (context.width, context.height) == (width, height)
        if context is None or not same_size or abs(rate - self._rate) > RATE_STEP * self._rate:
            context = (_open_h264 if self.codec == "H264" else _open_vp8)(width, height, rate)
            self._context, self._rate = context, rate
        return context


def _open_h264(width: int, height: int, rate: int) -> VideoCodecContext:
    context = _open("libx264", width, height, rate)
    context.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "baseline",  # what every WebRTC peer decodes (RFC 7742, section 6.2)
        "forced-idr": "1",
        "maxrate": str(rate),
        "bufsize": str(rate // 2),  # half a second: a keyframe may not hold up what comes after it for longer
    }
    return context


def _open_vp8(width: int, height: int, rate: int) -> VideoCodecContext:
    context = _open("libvpx", width, height, rate)
    context.qmin, context.qmax = 2, 56
    context.options = {
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "error-resilient": "default",
        "minrate": str(rate),
        "maxrate": str(rate),
        "bufsize": str(rate),
        "static-thresh": "1",
    }
    return context


def _open(name: str, width: int, height: int, rate: int) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = RTP_TIME_BASE, Fraction(NOMINAL_FPS)
    context.bit_rate, context.gop_size = rate, NO_MORE_KEYFRAMES
    context.thread_count = 1  # slices of several threads would cost bits, and other cameras need the cores
    return context
