"""The tracker in a program of one's own:

    async for frame in open_tracker("rtsp://host/path", model="default"):
        print(frame.seq, [(track.track_id, track.label) for track in frame.tracks])

Owns the pipeline behind such an iteration, from loading the model to letting go of the camera. Every answered
frame is handed out, in order: a consumer that is slow makes a file wait, and a live camera drop frames
(counted).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from stream.camera import CameraSource
from stream.camera_config import CameraConfig
from stream.config import PipelineConfig
from stream.engine import Engine, load_engine
from stream.errors import ConfigError
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scheduler import Scheduler
from stream.sources import ReconnectPolicy, mask_url
from stream.statistics import CameraStatistics, CameraStatus
from stream.types import TrackedFrame

_ALL_LATENCIES = 100_000
"""Percentiles of a whole run, up to about an hour at 25 frames/s; of the newest frames after that."""

_LATE_S = 1.0
"""What a camera's newest frame may be late when a duration ends."""

CAMERA = "source"
"""`TrackedFrame.camera` of what is handed out."""


class TrackerStream:
    """What `open_tracker` returns: iterate it, once. As an async context manager it also ends at once when
    left.
    """

    def __init__(
        self,
        camera: CameraConfig,
        pipeline: PipelineConfig,
        model: str | Engine,
        *,
        device: str,
        engine: str,
        precision: str,
        threads: int | None,
        tracker: Mapping[str, Any] | None,
        duration_s: float | None,
    ) -> None:
        self._settings = pipeline
        self._duration_s = duration_s
        self._ending = threading.Event()
        self._load: Callable[[], Engine] = (
            partial(
                load_engine,
                model,
                device=device,
                engine=engine,
                precision=precision,
                threads=threads,
                tracker=tracker,
                ending=self._ending,
            )
            if isinstance(model, str)
            else lambda: model
        )
        self._statistics = CameraStatistics(
            CAMERA, mask_url(camera.url), Metrics(CollectorRegistry()), recent=_ALL_LATENCIES
        )
        policy = ReconnectPolicy(fail_first=True)
        self._source = CameraSource(camera, self._statistics, policy=policy, duration_s=duration_s)
        self._frames: AsyncGenerator[TrackedFrame, None] | None = None
        self._pipeline: CameraPipeline | None = None
        self._error: Exception | None = None

    def status(self) -> CameraStatus:
        """Counts and latencies as of now, also after the end."""
        return self._statistics.status()

    def stop(self) -> None:
        """Read no more; the iteration ends after the frames that are in work. Call it on the event loop."""
        self._ending.set()
        if self._pipeline is not None:
            self._pipeline.stop()

    def __aiter__(self) -> AsyncGenerator[TrackedFrame, None]:
        if self._frames is not None:
            raise RuntimeError("a tracker is iterated once; open another one")
        self._frames = self._run()
        return self._frames

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frames is not None:
            await self._frames.aclose()

    async def _run(self) -> AsyncGenerator[TrackedFrame, None]:
        # Importing torch and reading weights takes seconds: not on the event loop.
        engine = await asyncio.to_thread(self._load)
        # Of a file all frames are answered, and none is waited for: the more a second the better.
        scheduler = Scheduler(engine, overlap=not self._source.paced and len(os.sched_getaffinity(0)) > 1)
        scheduler.start()
        try:
            async with aclosing(self._answers(scheduler)) as answers:
                async for frame in answers:
                    yield frame
        finally:
            await scheduler.close()

    async def _answers(self, scheduler: Scheduler) -> AsyncGenerator[TrackedFrame, None]:
        answers: asyncio.Queue[TrackedFrame | None] = asyncio.Queue(maxsize=scheduler.engine.window_frames)
        self._pipeline = CameraPipeline(
            self._source, scheduler, self._statistics, self._settings, sink=answers.put
        )
        if self._ending.is_set():
            self._pipeline.stop()

        async def run(pipeline: CameraPipeline) -> None:
            try:
                await pipeline.run()
            except Exception as error:  # for the consumer, once it has taken the frames before it
                self._error = error
            await answers.put(None)

        running = asyncio.create_task(run(self._pipeline), name="tracker pipeline")
        limit: asyncio.TimerHandle | None = None
        try:
            while (frame := await answers.get()) is not None:
                if limit is None and self._source.paced and self._duration_s is not None:
                    # For a camera that goes away meanwhile: no frame would say that the time is up.
                    late_s = self._duration_s + _LATE_S
                    limit = asyncio.get_running_loop().call_later(late_s, self.stop)
                yield frame
        finally:
            if limit is not None:
                limit.cancel()
            running.cancel()
            await asyncio.wait([running])
        if self._error is not None:
            raise self._error


def open_tracker(
    source: str,
    model: str | Engine = "default",
    *,
    realtime: bool = False,
    transport: Literal["tcp", "udp"] = "tcp",
    device: str = "auto",
    engine: Literal["auto", "torch", "openvino"] = "auto",
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    threads: int | None = None,
    tracker: Mapping[str, Any] | None = None,
    stride: int | None = None,
    duration_s: float | None = None,
) -> TrackerStream:
    """Track one source; `async for` over the result gives a TrackedFrame for each answered frame.

    Args:
        source: rtsp://, rtsps://, a file, a device, or synthetic:SEED.
        model: a model that ships, the path of a checkpoint, or an Engine that is loaded already.
        realtime: play a file or the synthetic camera at its own pace (and drop what is too much) instead of
        as fast
            as it can be tracked without losing a frame.
        transport: of RTSP.
        device, threads: where the model runs; "auto", "cpu" or "cuda"; threads of the processor.
        engine: what computes its network; "auto" is OpenVINO on a processor where it is installed, else "torch".
        precision: of the network; "auto" is "bfloat16" where the hardware has it, else "float32".
        tracker: settings of the tracker, by name.
        stride: a new window starts every so many frames; None: as the model says.
        duration_s: end after so many seconds of captured time.

    Raises ConfigError at once for a wrong address or value. The iteration raises ModelError when the model
    cannot be loaded, and StreamError when the source cannot be opened the first time or, a file, fails on the
    way. A live camera that goes away later is opened again and again.
    """
    try:
        camera = CameraConfig(url=source, transport=transport, realtime=realtime)
        pipeline = PipelineConfig(stride=stride)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{where}: {problem['msg']}") from None
    if duration_s is not None and duration_s <= 0:
        raise ConfigError(f"duration: must be above 0 seconds, not {duration_s:g}")
    return TrackerStream(
        camera,
        pipeline,
        model,
        device=device,
        engine=engine,
        precision=precision,
        threads=threads,
        tracker=tracker,
        duration_s=duration_s,
    )
