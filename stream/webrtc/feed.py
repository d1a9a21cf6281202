"""The overlay of one camera, drawn once for all who watch it, and only while somebody does.

Owns the drawing thread's work and each viewer's slot for the newest picture. Knows the hub on one side and
"somebody who awaits pictures" on the other; nothing of SDP, ICE or codecs.

Nothing here queues: a viewer that is slow skips pictures, and only it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.hub import Hub
from stream.overlay import draw_overlay
from stream.types import TrackedFrame

logger = logging.getLogger(__name__)

RTP_CLOCK_HZ = 90_000
NOMINAL_STEP = RTP_CLOCK_HZ // 30


@dataclass(frozen=True, slots=True)
class Picture:
    """One overlay picture, ready for a video encoder.

    `planes` is I420 in one array of shape (3 H / 2, W), H and W even; `rtp_ticks` is its time in 1/90000 s
    from the feed's start and grows with every picture. It is shared by all viewers and never written to.
    """

    camera: str
    seq: int
    rtp_ticks: int
    planes: NDArray[np.uint8] = field(repr=False, compare=False)


class RtpClock:
    """Capture times to 90 kHz ticks that start at 0 and always grow.

    Ticks differ as the capture times do, so that the far end can play at the camera's own pace. Where a
    capture time does not grow (the camera's clock was set, or its source changed) the time line goes on one
    nominal frame later and follows the new clock from there.
    """

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._last = -1

    def ticks(self, captured_at_s: float) -> int:
        """The ticks of a picture captured at this Unix time."""
        if self._origin_s is None:
            self._origin_s = captured_at_s
        ticks = round((captured_at_s - self._origin_s) * RTP_CLOCK_HZ)
        if ticks <= self._last:
            ticks = self._last + NOMINAL_STEP
            self._origin_s = captured_at_s - ticks / RTP_CLOCK_HZ
        self._last = ticks
        return ticks


class PictureSlot:
    """Where one viewer finds the newest picture: latest-only, ends with StopAsyncIteration when closed."""

    def __init__(self) -> None:
        self._pending: Picture | None = None
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def offer(self, picture: Picture) -> None:
        """Make `picture` the next one to be read; one that was not read yet is dropped and counted."""
        if self._pending is not None:
            self.dropped += 1
        self._pending = picture
        self._wake.set()

    def close(self) -> None:
        """End the iteration. Idempotent."""
        self._closed = True
        self._pending = None
        self._wake.set()

    def __aiter__(self) -> PictureSlot:
        return self

    async def __anext__(self) -> Picture:
        while not self._closed:
            if self._pending is not None:
                picture, self._pending = self._pending, None
                return picture
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration


class OverlayFeed:
    """Pictures of one camera for any number of viewers. All methods run on the event loop's thread."""

    def __init__(self, hub: Hub, executor: Executor, *, stamp: bool = False) -> None:
        self._hub = hub
        self._executor = executor
        self._stamp = stamp
        self._slots: set[PictureSlot] = set()
        self._clock = RtpClock()
        self._last: Picture | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many slots are open."""
        return len(self._slots)

    @property
    def has_picture(self) -> bool:
        """Whether somebody who joins now is shown something at once."""
        return self._hub.latest is not None

    def join(self) -> PictureSlot:
        """Open a slot; it starts with the newest picture there is. The first one starts the drawing."""
        slot = PictureSlot()
        self._slots.add(slot)
        if self._task is None:
            self._task = asyncio.create_task(self._draw(), name=f"overlay {self._hub.camera}")
        elif self._last is not None:
            slot.offer(self._last)
        return slot

    def leave(self, slot: PictureSlot) -> None:
        """Close a slot; the last one stops the drawing. Idempotent."""
        slot.close()
        self._slots.discard(slot)
        if not self._slots and self._task is not None:
            self._task.cancel()
            self._task = None
            self._last = None

    async def close(self) -> None:
        """End every slot and wait for the drawing to stop."""
        task = self._task
        for slot in tuple(self._slots):
            self.leave(slot)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _draw(self) -> None:
        """Draw until the hub closes or nobody watches; whatever else ends it ends every slot, not silently."""
        try:
            async with self._hub.subscribe() as frames:
                if self._hub.latest is not None:
                    await self._publish(self._hub.latest)
                async for frame in frames:
                    await self._publish(frame)
        except Exception:
            logger.exception("the overlay of camera %s cannot be drawn", self._hub.camera)
        self._task = None
        for slot in tuple(self._slots):
            self.leave(slot)

    async def _publish(self, frame: TrackedFrame) -> None:
        loop = asyncio.get_running_loop()
        planes = await loop.run_in_executor(self._executor, render_planes, frame, self._stamp)
        ticks = self._clock.ticks(frame.captured_at_s)
        self._last = Picture(camera=frame.camera, seq=frame.seq, rtp_ticks=ticks, planes=planes)
        for slot in tuple(self._slots):
            slot.offer(self._last)


class OverlayFeeds:
    """The feed of each camera, made when first asked for."""

    def __init__(self, hubs: Mapping[str, Hub], executor: Executor, *, stamp: bool = False) -> None:
        self._hubs = hubs
        self._executor = executor
        self._stamp = stamp
        self._feeds: dict[str, OverlayFeed] = {}

    def __getitem__(self, camera: str) -> OverlayFeed:
        """The feed of a camera. Raises KeyError when there is no such camera."""
        hub = self._hubs[camera]
        if camera not in self._feeds:
            self._feeds[camera] = OverlayFeed(hub, self._executor, stamp=self._stamp)
        return self._feeds[camera]

    async def close(self) -> None:
        """End all feeds."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))


def render_planes(frame: TrackedFrame, stamp: bool = False) -> NDArray[np.uint8]:
    """The frame's overlay as I420 planes, shape (3 H / 2, W), cut to even H and W. For a worker thread."""
    overlay = draw_overlay(frame.image, frame.tracks, stamp=frame.seq if stamp else None)
    height, width = overlay.shape[0] & ~1, overlay.shape[1] & ~1
    return np.asarray(cv2.cvtColor(overlay[:height, :width], cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
