"""Small frames and a small engine for the unit tests of the pipeline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np

from stream.scheduler import Scheduler
from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.types import Image, Track, encode_mask

PICTURE: Image = np.zeros((8, 12, 3), np.uint8)
LARGER: Image = np.zeros((16, 24, 3), np.uint8)


def make_frame(seq: int, camera: str = "cam", *, at_s: float | None = None, **changes: object) -> Frame:
    """Frame `seq` of a camera at 25 frames/s."""
    fields: dict[str, object] = {
        "camera": camera,
        "seq": seq,
        "pts": seq,
        "time_base": Fraction(1, 25),
        "captured_at_s": 1000.0 + seq / 25 if at_s is None else at_s,
        "image": PICTURE,
    }
    return Frame(**(fields | changes))  # type: ignore[arg-type]


def make_tracked(seq: int, camera: str = "cam", *, tracks: int = 1) -> TrackedFrame:
    """Frame `seq` of a camera with that many tracks on it."""
    return answer_frame(make_frame(seq, camera), tracks=tracks)


def answer_frame(frame: Frame, *, tracks: int = 1) -> TrackedFrame:
    """The frame with `tracks` tracks, ids 1 and up, each a square."""
    mask = np.zeros(frame.image.shape[:2], np.bool_)
    mask[2:5, 3:6] = True
    track = [Track(i + 1, "dog", 0.75, encode_mask(mask), (3.0, 2.0, 6.0, 5.0)) for i in range(tracks)]
    return TrackedFrame(
        camera=frame.camera,
        seq=frame.seq,
        pts=frame.pts,
        time_base=frame.time_base,
        captured_at_s=frame.captured_at_s,
        clock=frame.clock,
        tracks=tuple(track),
        image=frame.image,
    )


class SquareEngine:
    """An engine for unit tests: it sees a square in every frame. It can be held and made to fail."""

    labels = ("dog",)
    max_lost_s = 2.0

    def __init__(self, window_frames: int = 3, stride: int = 1) -> None:
        self.window_frames = window_frames
        self.stride = stride
        self.windows: list[Window] = []
        self.at_work = threading.Event()
        self.forgotten: list[str] = []
        self.threads: set[str] = set()
        self.fail_cameras: set[str] = set()
        self.go_on = threading.Event()
        self.go_on.set()

    def process(self, window: Window) -> EngineAnswer:
        self.at_work.set()
        self.go_on.wait(30)
        self.windows.append(window)
        self.threads.add(threading.current_thread().name)
        if window.frames[-1].camera in self.fail_cameras:
            raise ValueError("no such tensor")
        answered = window.frames[-window.answers :]
        return EngineAnswer(tuple(answer_frame(frame) for frame in answered), {"decode": 0.01})

    def forget(self, camera: str) -> None:
        self.forgotten.append(camera)


@asynccontextmanager
async def scheduler_of(engine: SquareEngine, *, overlap: bool = False) -> AsyncIterator[Scheduler]:
    """A scheduler at work; at the end the engine goes on, and no thread is left."""
    scheduler = Scheduler(engine, overlap=overlap)
    scheduler.start()
    try:
        yield scheduler
    finally:
        engine.go_on.set()
        await scheduler.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


class ListSource:
    """A source for unit tests: yields given frames, raises `error` after them, and can hang instead of
    ending.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        *,
        paced: bool = False,
        error: Exception | None = None,
        endless: bool = False,
    ) -> None:
        self.paced = paced
        self.is_open = False
        self.given = 0
        self.all_given = asyncio.Event()
        self._frames = frames
        self._error = error
        self._endless = endless

    async def frames(self) -> AsyncGenerator[Frame, None]:
        self.is_open = True
        try:
            for frame in self._frames:
                self.given += 1
                yield frame
                await asyncio.sleep(0)
            self.all_given.set()
            if self._endless:
                await asyncio.Event().wait()
            if self._error is not None:
                raise self._error
        finally:
            self.is_open = False
