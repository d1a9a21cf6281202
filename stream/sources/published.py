"""Cameras that are sent here (`whip:`): where a publisher is let in, and its pictures, decoded in a thread.

Owns the place of the one publisher that a camera can have, the bounded way of its pictures to the decoder, and their
decoding. Does not know how they come: `stream.webrtc` puts them in.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from stream.errors import SourceLeft
from stream.sources.base import DropCallback, IteratedSource, SourceOptions, ignore_drops
from stream.sources.coded import TIME_BASE, Codec, CodedPicture
from stream.sources.packets import PacketTap
from stream.sources.published_packets import PublishedPackets
from stream.sources.thread_feed import ThreadFeed
from stream.types import Frame

WAITING_PICTURES = 64
"""Coded pictures that may wait for the decoder; it takes a few ms for each."""
MAX_PIXELS = 8192 * 4320
"""Of one picture: a few coded bytes can claim to be gigabytes."""


class OccupiedError(Exception):
    """The camera has a publisher already."""


class Publication:
    """The pictures of one publisher, from the event loop that puts them in to the thread that takes them out.

    When too many wait, all go, up to the next keyframe: each but a keyframe is of no use without the one before.
    """

    def __init__(self, on_end: Callable[[Publication], None]) -> None:
        self.need_keyframe: Callable[[], None] = lambda: None
        """Asks the publisher for a keyframe, before which nothing is put in any more; on the event loop."""
        self.ask_keyframe: Callable[[], None] = lambda: None
        """Asks for one that is wanted and not needed; on the event loop."""
        self.ended = False
        self._on_end: list[Callable[[Publication], object]] = [on_end]
        self._packets: PublishedPackets | None = None
        self._changed = threading.Condition()
        self._waiting: deque[CodedPicture] = deque()
        self._dropped = 0
        self._loop = asyncio.get_running_loop()

    def put(self, picture: CodedPicture) -> None:
        """A picture came."""
        if self._packets is not None:
            self._packets.put(picture)
        with self._changed:
            if len(self._waiting) >= WAITING_PICTURES and not picture.keyframe:
                self._dropped += len(self._waiting) + 1
                self._waiting.clear()
                self.need_keyframe()
                return
            if picture.keyframe and len(self._waiting) >= WAITING_PICTURES:
                self._dropped += len(self._waiting)
                self._waiting.clear()
            self._waiting.append(picture)
            self._changed.notify()

    def pass_to(self, tap: PacketTap) -> None:
        """Give the pictures to `tap` as they came, from those that wait on, until the end."""
        packets = self._packets = PublishedPackets(tap, lambda: self.ask_keyframe())
        packets.attach()
        with self._changed:
            waiting = tuple(self._waiting)
        for picture in waiting:
            packets.put(picture)
        self._on_end.append(lambda _: packets.detach())

    def take(self) -> CodedPicture | None:
        """The oldest picture, as soon as there is one; None when it has ended. For one other thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.ended)
            return None if self.ended else self._waiting.popleft()

    def damaged(self) -> None:
        """The decoder cannot go on without a keyframe. For that other thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.need_keyframe)

    def dropped(self) -> int:
        """How many pictures were given up since the last time."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def on_end(self, tell: Callable[[], object]) -> None:
        """Call `tell` at its end."""
        self._on_end.append(lambda _: tell())

    def end(self) -> None:
        """The publisher left, or nobody wants its pictures any more. Idempotent."""
        if self.ended:
            return
        with self._changed:
            self.ended = True
            self._waiting.clear()
            self._changed.notify_all()
        for tell in self._on_end:
            tell(self)


class Doorway:
    """Where a camera's publisher comes in, one at a time."""

    def __init__(self) -> None:
        self._inside: Publication | None = None
        self._came = asyncio.Event()

    @property
    def occupied(self) -> bool:
        """Whether somebody publishes."""
        return self._inside is not None

    def enter(self) -> Publication:
        """Become the camera's publisher, until the publication ends. Raises OccupiedError."""
        if self._inside is not None:
            raise OccupiedError("the camera has a publisher already")
        self._inside = Publication(self._left)
        self._came.set()
        return self._inside

    async def publisher(self) -> Publication:
        """The publisher, as soon as there is one; each is given out once."""
        while True:
            await self._came.wait()
            self._came.clear()
            if self._inside is not None:
                return self._inside

    def _left(self, _publication: Publication) -> None:
        self._inside = None


class PublishedSource(IteratedSource):
    """The frames of the next publisher of a camera. See `Source`.

    It waits for one as long as it takes. Ends by SourceLeft: the publisher left, or no picture came in time.
    """

    live = True

    def __init__(
        self, camera: str, doorway: Doorway, options: SourceOptions, tap: PacketTap | None = None
    ) -> None:
        self.camera = camera
        self.on_drop: DropCallback = ignore_drops
        self._doorway, self._options, self._tap = doorway, options, tap
        self._publication: Publication | None = None
        self._feed: ThreadFeed[Frame] = ThreadFeed(
            self._decode, on_drop=lambda count: self.on_drop("reader_backlog", count)
        )
        self._shown = False
        self._closed = False
        self._broken = 0

    async def __anext__(self) -> Frame:
        try:
            if self._publication is None:
                self._publication = await self._doorway.publisher()
                if self._tap is not None:
                    self._publication.pass_to(self._tap)
            return await self._next(self._publication)
        except BaseException:
            await self.close()
            raise

    async def _next(self, publication: Publication) -> Frame:
        limit_s = self._options.read_timeout_s if self._shown else self._options.keyframe_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                frame = await anext(self._feed)
        except TimeoutError:
            what = "no more pictures came" if self._shown else "no picture came that can be decoded"
            raise SourceLeft(f"camera '{self.camera}': {what}", expected=False) from None
        except StopAsyncIteration:
            if self._closed:
                raise
            raise SourceLeft(f"camera '{self.camera}': the publisher left") from None
        finally:
            self._report(publication)
        self._shown = True
        return frame

    def _report(self, publication: Publication) -> None:
        for cause, count in (("reader_backlog", publication.dropped()), ("corrupt", self._broken)):
            if count:
                self.on_drop(cause, count)
        self._broken = 0

    def _decode(self, stop: threading.Event) -> Iterator[Frame]:
        publication = self._publication
        assert publication is not None
        decoder = PictureDecoder()
        seq, shape = 0, (0, 0, 0)
        while not stop.is_set() and (picture := publication.take()) is not None:
            try:
                images = decoder.decode(picture)
            except (av.FFmpegError, ValueError):
                self._broken += 1
                publication.damaged()
                continue
            for coded, image in images:
                yield Frame(
                    camera=self.camera,
                    seq=seq,
                    pts=coded.ticks,
                    time_base=TIME_BASE,
                    captured_at_s=coded.arrival_s,
                    image=image,
                    clock="arrival",
                    discontinuity=seq > 0 and image.shape != shape,
                )
                seq, shape = seq + 1, image.shape

    async def close(self) -> None:
        """End the publication and the thread; see `Source`."""
        self._closed = True
        if self._publication is not None:
            self._publication.end()
        await self._feed.close()


class PictureDecoder:
    """Coded pictures in, images (H, W, 3) RGB uint8 out, none held back."""

    def __init__(self) -> None:
        self._codec: Codec | None = None
        self._context: Any = None
        self._inside: dict[int, CodedPicture] = {}

    def decode(self, picture: CodedPicture) -> list[tuple[CodedPicture, Any]]:
        """What can be shown now, each with the picture that it was. Raises FFmpegError or ValueError."""
        if picture.codec != self._codec:
            self._codec, self._context = picture.codec, _open(picture.codec)
        packet = av.Packet(picture.data)
        packet.pts, packet.time_base = picture.ticks, TIME_BASE
        self._inside[picture.ticks] = picture
        shown = []
        for decoded in self._context.decode(packet):
            if decoded.width * decoded.height > MAX_PIXELS:
                raise ValueError("the picture is too large")
            coded = self._inside.get(decoded.pts, picture)
            self._inside = {ticks: each for ticks, each in self._inside.items() if ticks > coded.ticks}
            image = np.ascontiguousarray(decoded.to_ndarray(format="rgb24"))
            image.setflags(write=False)
            shown.append((coded, image))
        while len(self._inside) > WAITING_PICTURES:
            del self._inside[next(iter(self._inside))]
        return shown


def _open(codec: Codec) -> Any:
    context = av.CodecContext.create("h264" if codec == "H264" else "vp8", "r")
    context.thread_count = 1  # threads over pictures would hold them back
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context
