"""The overlay of one camera, drawn once for all who watch it, encoded once for each codec, and only while somebody
watches.

Owns the drawing and the encoders, and when a keyframe is made. Knows the hub on one side and the viewers' queues
(`fanout`) on the other; nothing of SDP, ICE or RTP.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.hub import Hub
from stream.log import about
from stream.overlay import draw_overlay
from stream.statistics import CameraStatistics, ViewerKind
from stream.types import TrackedFrame
from stream.webrtc.clock import RtpClock
from stream.webrtc.encoder import Codec, EncodedPicture, MaskText, VideoEncoder
from stream.webrtc.fanout import Fanout, ViewerQueue
from stream.webrtc.rate import ceiling_bps, shared_bps
from stream.wire import encode
from stream.zones import Regions

logger = logging.getLogger(__name__)

KEYFRAME_INTERVAL_S = 0.5
"""At least so long lies between two keyframes, whoever asks."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, ready for a video encoder.

    `frame`: what it shows; `planes` is I420 in one array of shape (3 H / 2, W), H and W even, never written to; `ticks`
    is its time in 1/90000 s from the feed's start and grows with every picture; `drawn_at_s` is on the monotonic clock;
    `fresh`: it was not shown before.
    """

    frame: TrackedFrame
    ticks: int
    drawn_at_s: float
    fresh: bool
    planes: NDArray[np.uint8] = field(repr=False, compare=False)


class _Stream:
    """One codec's encoder and those who watch it."""

    def __init__(self, codec: Codec, on_drop: Callable[[], None]) -> None:
        self.encoder = VideoEncoder(codec)
        self.fanout = Fanout(self.request_keyframe, on_drop=on_drop)
        self.wanted = asyncio.Event()
        """A keyframe is."""
        self.keyframe_at_s = -KEYFRAME_INTERVAL_S

    def request_keyframe(self) -> None:
        self.wanted.set()

    @property
    def keyframe_due(self) -> bool:
        return self.wanted.is_set() and time.monotonic() - self.keyframe_at_s >= KEYFRAME_INTERVAL_S

    def rate(self, picture: Picture, fps: float) -> float:
        """Bits a second for a picture, and what each viewer gets of them."""
        height, width = picture.planes.shape[0] * 2 // 3, picture.planes.shape[1]
        limits = [viewer.rate.limit_bps for viewer in self.fanout.viewers]
        bps = shared_bps(limits, ceiling_bps(width, height, fps))
        for viewer in self.fanout.viewers:
            limit = viewer.rate.limit_bps
            viewer.limit_bps = limit if limit < bps else None
        return bps

    def publish(self, encoded: EncodedPicture) -> None:
        if encoded.keyframe:
            self.wanted.clear()
        self.fanout.publish(encoded)


class OverlayFeed:
    """Encoded pictures of one camera for any number of viewers. All methods run on the event loop's thread.

    `plain`: nothing is drawn; what would be is said beside each picture (`EncodedPicture.masks`). `regions` gives the
    zones and lines as of now.
    """

    def __init__(
        self,
        hub: Hub,
        executor: Executor,
        statistics: CameraStatistics,
        *,
        stamp: bool = False,
        plain: bool = False,
        regions: Callable[[], Regions] = Regions,
    ) -> None:
        self.origin = random.getrandbits(32)
        """The RTP timestamp of ticks 0, random as RFC 3550, section 5.1, wants it."""
        self._hub = hub
        self._executor = executor
        self._statistics = statistics
        self._stamp = stamp
        self._plain = plain
        self._regions = regions
        self._kind: ViewerKind = "plain" if plain else "overlay"
        self._streams: dict[Codec, _Stream] = {}
        self._clock = RtpClock()
        self._last: Picture | None = None
        self._drawn = asyncio.Event()
        self._encoding = asyncio.Lock()
        self._tasks: dict[Codec | None, asyncio.Task[None]] = {}
        """What draws (None), and what answers each codec's requests for keyframes."""
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(len(stream.fanout.viewers) for stream in self._streams.values())

    @property
    def has_picture(self) -> bool:
        """Whether somebody who joins now is shown something at once."""
        return self._hub.latest is not None

    def join(self, codec: Codec) -> ViewerQueue:
        """A queue of encoded pictures, from a keyframe on. The first one starts the drawing."""
        if codec not in self._streams:
            stream = self._streams[codec] = _Stream(codec, self._statistics.viewer_dropped)
            self._start(codec, self._answer(stream))
        if None not in self._tasks:
            self._start(None, self._draw())
        queue = self._streams[codec].fanout.join()
        self._statistics.viewers(self.viewers, self._kind)
        return queue

    def leave(self, queue: ViewerQueue) -> None:
        """Close a queue; the last one of a codec ends its encoder, the last one of all the drawing. Idempotent."""
        for codec, stream in tuple(self._streams.items()):
            stream.fanout.leave(queue)
            if not stream.fanout.viewers:
                del self._streams[codec]
                self._cancel(codec)
        if not self._streams:
            self._cancel(None)
            self._last = None
            self._drawn.clear()
        self._statistics.viewers(self.viewers, self._kind)

    async def close(self) -> None:
        """End every queue and wait for the drawing to stop."""
        self._end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _start(self, key: Codec | None, work: Coroutine[Any, Any, None]) -> None:
        name = f"overlay of {self._hub.camera}{f', {key}' if key else ''}"
        with about(camera=self._hub.camera):
            self._tasks[key] = asyncio.create_task(self._guarded(work), name=name)

    def _cancel(self, key: Codec | None) -> None:
        task = self._tasks.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Work until it ends; what ends it ends every queue, and not silently."""
        try:
            await work
        except Exception:
            logger.exception("the overlay of camera %s cannot be drawn", self._hub.camera)
        self._end()

    def _end(self) -> None:
        for stream in tuple(self._streams.values()):
            for queue in tuple(stream.fanout.viewers):
                self.leave(queue)

    async def _draw(self) -> None:
        """Draw and encode until the hub closes or nobody watches."""
        async with self._hub.subscribe() as frames:
            if self._hub.latest is not None:
                await self._publish(self._hub.latest, fresh=False)
            async for frame in frames:
                await self._publish(frame)

    async def _publish(self, frame: TrackedFrame, *, fresh: bool = True) -> None:
        async with self._encoding:
            began = time.monotonic()
            draw = partial(render_planes, frame, self._stamp, self._plain, self._regions())
            planes = await self._in_thread(draw)
            now = time.monotonic()
            self._statistics.stage("overlay", now - began)
            self._last = Picture(frame, self._clock.ticks(frame.captured_at_s), now, fresh, planes)
            self._drawn.set()
            for stream in tuple(self._streams.values()):
                await self._encode(stream, self._last)

    async def _answer(self, stream: _Stream) -> None:
        """Answer requests for keyframes by showing the newest picture again: the next may be long in coming."""
        while True:
            await stream.wanted.wait()
            await self._drawn.wait()
            await asyncio.sleep(max(0.0, stream.keyframe_at_s + KEYFRAME_INTERVAL_S - time.monotonic()))
            async with self._encoding:
                if self._last is not None and stream.keyframe_due:
                    now = time.monotonic()
                    ticks = self._clock.between(now - self._last.drawn_at_s)
                    self._last = replace(self._last, ticks=ticks, drawn_at_s=now, fresh=False)
                    await self._encode(stream, self._last)

    async def _encode(self, stream: _Stream, picture: Picture) -> None:
        began = time.monotonic()
        keyframe, fps = stream.keyframe_due, self._clock.fps
        if keyframe:
            stream.keyframe_at_s = began
        work = partial(
            stream.encoder.encode, picture.planes, picture.frame.seq, picture.ticks, keyframe=keyframe
        )
        encoded = await self._in_thread(partial(work, bps=stream.rate(picture, fps), fps=fps))
        self._statistics.encoded(stream.encoder.codec, encoded.keyframe, time.monotonic() - began)
        if picture.fresh and picture.frame.clock != "media":
            encoded = replace(encoded, captured_at_s=picture.frame.captured_at_s)
        if self._plain:
            rtp_timestamp = (self.origin + picture.ticks) & 0xFFFFFFFF
            masks = MaskText(encode(picture.frame, rtp_timestamp), rtp_timestamp)
            encoded = replace(encoded, masks=masks)
        stream.publish(encoded)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def render_planes(
    frame: TrackedFrame,
    stamp: bool = False,
    plain: bool = False,
    regions: Regions = Regions(),  # noqa: B008  # immutable
) -> NDArray[np.uint8]:
    """The frame's overlay, or its `plain` picture, as I420 planes, shape (3 H / 2, W), cut to even H and W.

    For a worker thread.
    """
    number = frame.seq if stamp else None
    if plain:
        shown = draw_overlay(frame.image, (), stamp=number)
    else:
        shown = draw_overlay(frame.image, frame.tracks, stamp=number, regions=regions)
    height, width = shown.shape[0] & ~1, shown.shape[1] & ~1
    return np.asarray(cv2.cvtColor(shown[:height, :width], cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
