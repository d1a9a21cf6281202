"""Streaming accuracy: a video is played at its own pace through the live pipeline, and judged by what was known when.

For the moment at which each frame was captured, the newest answer that had been published by then counts, whichever
frame it was about (Li et al., "Towards Streaming Perception", ECCV 2020): so late answers, and frames that were left
out, cost accuracy. Even a model that takes no time is one frame late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from stream.config import PipelineConfig
from stream.engine import Engine
from stream.intake import Intake
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scheduler import Scheduler
from stream.statistics import CameraStatistics, latency_percentiles
from stream.types import Frame, TrackedFrame, Window
from syncvis_online.types import FrameTracks, Image, Track

if TYPE_CHECKING:
    from syncvis_online.online import Mode

HEAD_START_S = 0.2
"""From the start of the pipeline to the first frame's capture."""


@dataclass
class LiveTracker:
    """Tracks videos as a live camera's are tracked. `rate`: so many frames a second are looked at, at most; None: all.

    A video is taken into memory before it is played, so that making its pictures costs the model nothing.
    """

    engine: Engine
    rate: float | None = None
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    offered: int = 0
    answered: int = 0
    latencies_s: list[float] = field(default_factory=list)
    _names: Iterator[int] = field(default_factory=count)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it can answer."""
        return self.engine.labels

    def track_video(
        self, frames: Iterable[Image], fps: float, mode: Mode = "streaming"
    ) -> Iterator[FrameTracks]:
        """What was known at each frame's moment, whatever `mode` says. Takes as long as the video does."""
        pictures = list(frames)
        name = f"video-{next(self._names)}"
        captured_s, published = asyncio.run(self._play(name, pictures, fps))
        for index, tracks in enumerate(known_at(captured_s, published)):
            yield FrameTracks(index, tracks)

    def figures(self) -> dict[str, Any]:
        """How it went so far: `latency_ms` is from capture to publication."""
        latency = latency_percentiles(self.latencies_s)
        return {
            "rate": self.rate,
            "frames_offered": self.offered,
            "frames_answered": self.answered,
            "latency_ms": None
            if latency is None
            else {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99},
        }

    async def _play(
        self, name: str, pictures: Sequence[Image], fps: float
    ) -> tuple[list[float], list[tuple[float, tuple[Track, ...]]]]:
        published: list[tuple[float, tuple[Track, ...]]] = []

        async def sink(frame: TrackedFrame) -> None:
            published.append((frame.published_at_s, frame.tracks))
            self.latencies_s.append(frame.latency_s)

        source = _Played(name, pictures, fps)
        scheduler = Scheduler(self.engine)
        await asyncio.to_thread(self._warm_up, source)
        scheduler.start()
        try:
            statistics = CameraStatistics(name, "video", Metrics(CollectorRegistry()))
            intake = Intake(self.rate)
            await CameraPipeline(source, scheduler, statistics, self.pipeline, intake=intake, sink=sink).run()
            await scheduler.forget(name)
        finally:
            await scheduler.close()
        self.offered += len(pictures)
        self.answered += len(published)
        return source.captured_s, published

    def _warm_up(self, source: _Played) -> None:
        """The first window of a process takes longer than all others will."""
        camera = f"{source.name}-warm-up"
        frames = tuple(source.frame(i, i / source.fps, camera) for i in range(min(2, len(source.pictures))))
        if frames:
            self.engine.process(Window(frames[-self.engine.window_frames :], 1))
            self.engine.forget(camera)


@dataclass
class _Played:
    """A video as a live source: each frame comes when it is due, by the machine's clock."""

    name: str
    pictures: Sequence[Image]
    fps: float
    paced: bool = True
    captured_s: list[float] = field(default_factory=list)

    def frame(self, index: int, at_s: float, camera: str) -> Frame:
        time_base = 1 / Fraction(self.fps).limit_denominator(100_000)
        return Frame(camera, index, index, time_base, at_s, self.pictures[index])

    async def frames(self) -> AsyncGenerator[Frame, None]:
        start_s = time.time() + HEAD_START_S
        self.captured_s = [start_s + i / self.fps for i in range(len(self.pictures))]
        for index, due_s in enumerate(self.captured_s):
            await asyncio.sleep(max(0.0, due_s - time.time()))
            yield self.frame(index, due_s, self.name)


def known_at(
    moments_s: Sequence[float], published: Sequence[tuple[float, tuple[Track, ...]]]
) -> Iterator[tuple[Track, ...]]:
    """For each moment the newest answer published by then, or nothing. Both in order of time."""
    known: tuple[Track, ...] = ()
    coming = iter(published)
    following = next(coming, None)
    for moment_s in moments_s:
        while following is not None and following[0] <= moment_s:
            known, following = following[1], next(coming, None)
        yield known
