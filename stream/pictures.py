"""Pictures of a camera as JPEG, for who cannot watch over WebRTC, and for many small ones at once.

Owns when one is drawn and encoded: once for all who read the same, only while somebody waits for one, newest only and
not more often than people can tell. Does not know WebSockets: see `stream.picture_socket`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import cv2

from stream.log import about
from stream.overlay import draw_overlay
from stream.pipeline import CameraPipeline
from stream.types import TrackedFrame
from stream.wire import encode
from stream.zones import Regions
from syncvis_online.types import Image

logger = logging.getLogger(__name__)

Size = Literal["small", "full"]
Masks = Literal["overlay", "data"]

WIDEST = {"small": 480, "full": 1280}
"""Pixels; a picture that is wider is made smaller."""
PERIOD_S = {"small": 0.2, "full": 1 / 15}
"""From one picture to the next at least."""
QUALITY = {"small": 70, "full": 80}


@dataclass(frozen=True, slots=True)
class JpegPicture:
    """One picture. `text`: what is on it, where it is not drawn into it (`stream.wire`)."""

    jpeg: bytes
    text: str | None = None


class PictureReader:
    """What one reader gets: newest only. The iteration ends when the camera does, or when it is closed."""

    def __init__(self, on_wait: Callable[[], None], on_close: Callable[[PictureReader], None]) -> None:
        self._on_wait, self._on_close = on_wait, on_close
        self._picture: JpegPicture | None = None
        self._wake = asyncio.Event()
        self._closed = False
        self.waits = False
        """Whether it has read all that it was given."""

    def offer(self, picture: JpegPicture) -> None:
        """Called by the feed; replaces one that was not read."""
        self._picture = picture
        self._wake.set()

    def close(self) -> None:
        """End the iteration and leave. Idempotent; never waits."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JpegPicture:
        while not self._closed:
            if self._picture is not None:
                picture, self._picture = self._picture, None
                self.waits = False
                return picture
            self._wake.clear()
            self.waits = True
            self._on_wait()
            await self._wake.wait()
        raise StopAsyncIteration


class PictureFeed:
    """One camera's pictures of one size for any number of readers. All methods run on the event loop's thread."""

    def __init__(self, camera: CameraPipeline, executor: Executor, size: Size, masks: Masks) -> None:
        self.camera, self._executor = camera, executor
        self._size, self._masks = size, masks
        self._readers: set[PictureReader] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def readers(self) -> int:
        """How many read."""
        return len(self._readers)

    def join(self) -> PictureReader:
        """A reader, from the newest picture on. The first one starts the drawing."""
        reader = PictureReader(self._wanted.set, self._leave)
        self._readers.add(reader)
        if self._task is None:
            name = f"{self._size} pictures of {self.camera.name}"
            with about(camera=self.camera.name):
                self._task = asyncio.create_task(self._guarded(), name=name)
        return reader

    async def close(self) -> None:
        """End every reader, and wait for the drawing to stop."""
        self._end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self) -> None:
        for reader in tuple(self._readers):
            reader.close()

    def _leave(self, reader: PictureReader) -> None:
        self._readers.discard(reader)
        if self._readers or self._task is None:
            return
        task, self._task = self._task, None
        if task is not asyncio.current_task():
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _guarded(self) -> None:
        try:
            await self._draw()
        except Exception:
            logger.exception("the pictures of camera %s cannot be drawn", self.camera.name)
        self._end()

    async def _draw(self) -> None:
        async with self.camera.hub.subscribe() as frames:
            if self.camera.hub.latest is not None:
                frames.offer(self.camera.hub.latest)
            while True:
                await self._somebody_waits()
                frame = await anext(frames, None)
                if frame is None:
                    return
                began = time.monotonic()
                regions = self.camera.scene.zones.view()
                draw = partial(render, frame, self._size, self._masks, regions)
                picture = await asyncio.get_running_loop().run_in_executor(self._executor, draw)
                self.camera.statistics.encoded("JPEG", False, time.monotonic() - began)
                for reader in self._readers:
                    reader.offer(picture)
                await asyncio.sleep(began + PERIOD_S[self._size] - time.monotonic())

    async def _somebody_waits(self) -> None:
        while not any(reader.waits for reader in self._readers):
            self._wanted.clear()
            await self._wanted.wait()


class PictureFeeds:
    """The feeds of each camera, made when first asked for and forgotten with the camera. A `CameraWatcher`."""

    def __init__(self, cameras: Mapping[str, CameraPipeline], executor: Executor) -> None:
        self._cameras, self._executor = cameras, executor
        self._feeds: dict[tuple[str, Size, Masks], PictureFeed] = {}

    def join(self, camera: str, size: Size, masks: Masks) -> PictureReader:
        """A reader. Raises KeyError when there is no such camera."""
        pipeline = self._cameras[camera]
        key = (camera, size, masks)
        feed = self._feeds.get(key)
        if feed is None or feed.camera is not pipeline:  # another camera may have come under an old name
            feed = self._feeds[key] = PictureFeed(pipeline, self._executor, size, masks)
        return feed.join()

    def came(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""

    def went(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`; its feeds end with its hub."""
        self._feeds = {key: feed for key, feed in self._feeds.items() if feed.camera is not camera}

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))


def render(frame: TrackedFrame, size: Size, masks: Masks, regions: Regions) -> JpegPicture:
    """One frame as a JPEG picture. For a worker thread."""
    as_data = masks == "data"
    image = frame.image if as_data else draw_overlay(frame.image, frame.tracks, regions=regions)
    jpeg = encode_jpeg(_at_most(image, WIDEST[size]), QUALITY[size])
    return JpegPicture(jpeg, encode(frame) if as_data else None)


def _at_most(image: Image, width: int) -> Image:
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def encode_jpeg(image: Image, quality: int) -> bytes:
    """A picture, shape (H, W, 3), RGB, uint8, as JPEG of a quality of 1 to 100."""
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise RuntimeError(f"no JPEG of a picture of shape {image.shape}")
    return jpeg.tobytes()
