"""Video files: decoded in a thread, as fast as they are consumed or at their own pace.

Owns what counts as a video file and how one is shown: turned upright as its rotation says, timestamps kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from stream.sources.base import DropCallback, IteratedSource, ignore_drops
from stream.sources.errors import Failure, failure_of, stream_error
from stream.sources.pacing import Pacer
from stream.sources.thread_feed import ThreadFeed
from stream.sources.urls import SourceAddress
from stream.types import Frame
from syncvis_online.types import Image

_STILL_FORMATS = ("image2", "tty", "ico", "gif_pipe")
"""FFmpeg plays texts as terminals and pictures as one-frame videos; nobody means that by a camera."""


class FileSource(IteratedSource):
    """One reading of a video file. See `Source`."""

    live = False

    def __init__(self, camera: str, address: SourceAddress, *, realtime: bool) -> None:
        self.camera = camera
        self.on_drop: DropCallback = ignore_drops
        self._address, self._realtime = address, realtime
        self._broken = 0
        self._feed: ThreadFeed[Frame] = ThreadFeed(
            self._decode, on_drop=(lambda count: self.on_drop("reader_backlog", count)) if realtime else None
        )

    async def __anext__(self) -> Frame:
        try:
            return await anext(self._feed)
        finally:
            self._report_broken()

    def _report_broken(self) -> None:
        broken, self._broken = self._broken, 0
        if broken:
            self.on_drop("corrupt", broken)

    def _decode(self, stop: threading.Event) -> Iterator[Frame]:
        seq = 0
        try:
            with av.open(self._address.location, timeout=None) as container:
                self._refuse_stills(container)
                for frame in self._frames(container, Pacer(stop, realtime=self._realtime)):
                    seq += 1
                    yield frame
        except (av.FFmpegError, OSError, ValueError) as error:
            raise stream_error(failure_of(error), self._address.url, live=False) from error
        if not seq and not stop.is_set():
            raise self._failure("NothingDecoded")

    def _refuse_stills(self, container: Any) -> None:
        name = container.format.name
        if any(part in _STILL_FORMATS or part.endswith("_pipe") for part in name.split(",")):
            raise self._failure("StillPicture")
        videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not videos:
            raise self._failure("NoVideo")

    def _frames(self, container: Any, pacer: Pacer) -> Iterator[Frame]:
        stream = next(s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
        stream.thread_type = "AUTO"
        time_base: Fraction = stream.time_base
        step = round(1 / ((stream.average_rate or 25) * time_base)) or 1
        first: int | None = None
        last, seq, shape = -1, 0, (0, 0, 0)
        for picture in self._pictures(container, stream):
            image = upright(picture)
            pts = picture.pts if picture.pts is not None else last + step if seq else 0
            first = pts if first is None else first
            captured_at_s = pacer.captured_at(float((pts - first) * time_base))
            yield Frame(
                camera=self.camera,
                seq=seq,
                pts=pts,
                time_base=time_base,
                captured_at_s=captured_at_s,
                image=image,
                clock="arrival" if self._realtime else "media",
                discontinuity=seq > 0 and image.shape != shape,
            )
            last, seq, shape = pts, seq + 1, image.shape

    def _pictures(self, container: Any, stream: Any) -> Iterator[Any]:
        """All pictures that can be decoded; those that cannot are counted."""
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                self._broken += 1

    def _failure(self, name: str) -> Exception:
        return stream_error(Failure(name), self._address.url, live=False)

    async def close(self) -> None:
        """End the thread; see `Source`."""
        await self._feed.close()


def upright(picture: Any) -> Image:
    """An `av.VideoFrame` as (H, W, 3) uint8 RGB, turned by its rotation (multiples of 90 degrees, else as
    it is)."""
    image: Image = picture.to_ndarray(format="rgb24")
    quarters = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
