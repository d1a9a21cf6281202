"""One camera, from its source to its hub: source -> ring -> windows -> scheduler -> hub.

Owns the two tasks of a camera (one reads, one tracks) and their end. A camera that fails ends alone. Does not
know how frames are decoded, what the engine does with a window, or who subscribes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from stream.config import PipelineConfig
from stream.errors import ConfigError, SyncVISError
from stream.hub import Hub
from stream.intake import BEYOND_FPS, Intake
from stream.metrics import Pace
from stream.picture_watch import PictureWatch
from stream.ring import RingBuffer
from stream.scene import Scene
from stream.scheduler import Cut, EngineFailure, Scheduler, Served
from stream.sources.packets import PacketTap
from stream.statistics import CameraStatistics, CameraStatus
from stream.tenure import Tenure
from stream.tracing import Tracing
from stream.types import Frame, TrackedFrame, Window
from stream.window import RollingWindows

ENGINE_ERROR = "engine_error"
"""Cause of a drop: the engine raised on the frame's window."""

NOT_OURS = "not_ours"
"""Cause of a drop: by now another worker of the cluster may publish the camera."""

TURNS = 2
"""A camera has at once: one that is answered and handed out, and one that is encoded or waited for."""

Sink = Callable[[TrackedFrame], Awaitable[None]]


class FrameSource(Protocol):
    """What a pipeline needs of a source."""

    @property
    def paced(self) -> bool:
        """Whether frames come at a pace of their own, so that waiting for the engine means losing frames."""
        ...

    def frames(self) -> AsyncGenerator[Frame, None]:
        """The camera's frames, until it ends; closing the iterator lets go of the camera.

        Raises StreamError when the camera fails for good.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Received:
    """`stretch`: how often the camera was connected anew before it."""

    frame: Frame
    at_s: float
    at_monotonic_s: float
    stretch: int


class CameraPipeline:
    """Runs one camera: `await pipeline.run()`; `stop()` ends it early.

    Every answered frame is published on `hub`; then `sink`, if there is one, is awaited for it: it sees every
    answered frame in order, and a slow sink slows the tracking down (a live camera then drops frames in its ring, a
    file waits). `tenure`: in a cluster, for how long it may publish. Raises ConfigError when the stride does not
    fit the engine's window.
    """

    def __init__(
        self,
        source: FrameSource,
        scheduler: Scheduler,
        statistics: CameraStatistics,
        settings: PipelineConfig,
        *,
        sink: Sink | None = None,
        packets: PacketTap | None = None,
        intake: Intake | None = None,
        scene: Scene | None = None,
        priority: int = 0,
        traces: Tracing | None = None,
        tenure: Tenure | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = statistics.camera
        self.hub = Hub(self.name, clock=clock, on_subscribers=statistics.subscribers)
        self.packets = packets or PacketTap()
        """The camera's own encoded pictures, for viewers."""
        self._source = source
        self._scheduler = scheduler
        self.statistics = statistics
        self._sink = sink
        self.intake = intake or Intake()
        """What is taken of the source's frames."""
        self.scene = scene or Scene()
        """What is made of each answered frame before it is published."""
        self._traces = traces
        self._tenure = tenure
        self._clock = clock
        self.priority = priority
        """Where there is not time for all cameras, those with a higher one go first."""
        engine = scheduler.engine
        self._stride = settings.stride or engine.stride
        self._lossless = not source.paced
        # Twice the stride takes nearly twice as long; a wider one would make answers later than skipping does.
        self._widest = self._stride if self._lossless else min(2 * self._stride, engine.window_frames)
        try:
            self._windows = RollingWindows(
                engine.window_frames,
                self._stride,
                max_gap_s=max(settings.max_gap_s, 2 * self.intake.period_s),
                policies=settings.policies,
            )
        except ValueError as error:
            raise ConfigError(f"pipeline.stride: {error}") from error
        self._watch = PictureWatch(cut_difference=settings.cut_difference, stale_s=settings.stale_s)
        self._ring: RingBuffer[_Received] = RingBuffer(
            settings.ring_frames or max(2, 2 * self._stride),
            lossless=self._lossless,
            on_drop=statistics.dropped,
        )
        self._received_stretch = self._cut_stretch = 0
        self._in_work: dict[int, _Received] = {}
        self._turns: asyncio.Queue[asyncio.Future[Served] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(TURNS)
        self._paces: deque[Pace] = deque()
        """Of the turns in work."""
        self._reader: asyncio.Task[None] | None = None
        self._stopping = False
        self._error: SyncVISError | None = None

    def status(self) -> CameraStatus:
        """The camera as of now."""
        return self.statistics.status()

    async def run(self) -> None:
        """Read and track until the source ends or `stop()` is called; then end the hub.

        Raises the source's StreamError, after the frames before it are answered.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read(), name=f"{self.name} reader")
                tasks.create_task(self._ask(), name=f"{self.name} turns")
                tasks.create_task(self._hand_out(), name=f"{self.name} tracker")
                await self._until_read(self._reader)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # one task failed, the other was cancelled for it
        finally:
            self.statistics.up(False)
            self.hub.close()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Read no more. Frames that wait are answered still if the source is a file, else dropped.
        Idempotent.
        """
        self._stopping = True
        if self._reader is not None:
            self._reader.cancel()

    async def _until_read(self, reader: asyncio.Task[None]) -> None:
        """Wait for the end of reading, whatever ends it (a task may be cancelled before its first step)."""
        if self._stopping:
            reader.cancel()
        try:
            await asyncio.wait([reader])
        finally:
            self.statistics.up(False)
            await self._ring.close(discard=self._stopping and not self._ring.lossless)

    async def _read(self) -> None:
        try:
            async with aclosing(self._source.frames()) as frames:
                async for frame in frames:
                    await self._receive(frame)
        except SyncVISError as error:
            # Kept until the frames before it are answered: raised here it would cancel the tracking.
            self._error = error
            self.statistics.error(str(error))

    async def _receive(self, frame: Frame) -> None:
        now = self._clock()
        # The media's own time says nothing about transit; the camera's and the packet's arrival do.
        self.statistics.received(now, None if frame.clock == "media" else now - frame.captured_at_s)
        wanted = self.intake.of(frame)
        if wanted is None:
            self.statistics.dropped(BEYOND_FPS)
            return
        self._received_stretch += wanted.discontinuity
        await self._ring.put(_Received(wanted, now, time.monotonic(), self._received_stretch))
        self.statistics.ring_fill(self._ring.fill_ratio)

    async def _ask(self) -> None:
        """Ask for turns, the next one while the last is in work, and no more."""
        while await self._ring.wait(self._stride - self._windows.unanswered):
            await self._begin(self._cut)
        if self._windows.unanswered:
            await self._begin(self._tail)
        self._turns.put_nowait(None)

    async def _begin(self, cut: Cut) -> None:
        await self._room.acquire()
        self._turns.put_nowait(await self._scheduler.begin(self.name, cut, self.priority))

    async def _hand_out(self) -> None:
        while (turn := await self._turns.get()) is not None:
            served = await turn
            self.statistics.ring_fill(self._ring.fill_ratio)
            await self._take_over(served)
            self._room.release()

    def _cut(self) -> Sequence[Window]:
        """The windows of the frames that wait; on the engine's thread, while this camera has its turn.

        All of them, up to the widest stride. Where even that has not kept up, so that frames were lost, only the
        newest that the stride asks for.
        """
        missing = self._stride - self._windows.unanswered
        taken, behind = self._ring.take(self._widest - self._windows.unanswered, missing)
        for received in taken:
            self._in_work[received.frame.seq] = received
        windows = self._windows.extend(self._flagged(received) for received in taken)
        widened = any(window.answers > self._stride for window in windows)
        self._paces.append("skipping" if behind else "widened" if widened else "normal")
        return windows

    def _tail(self) -> Sequence[Window]:
        self._paces.append("normal")
        window = self._windows.flush()
        return () if window is None else (window,)

    def _flagged(self, received: _Received) -> Frame:
        """The frame with what is known of it: a reconnect is told also where the first frame after it was lost."""
        frame = received.frame
        if received.stretch != self._cut_stretch:
            self._cut_stretch = received.stretch
            frame = replace(frame, discontinuity=True)
        flag = self._watch.look(frame)
        return frame if flag is None else replace(frame, flags=(*frame.flags, flag))

    async def _take_over(self, served: Served) -> None:
        """Hand out what a turn came to."""
        self.statistics.turn(self._paces.popleft(), len(served.outcomes), served.busy_s)
        self.statistics.stage("schedule", served.began_at_s - served.asked_at_s)
        for window, outcome in served.outcomes:
            if isinstance(outcome, EngineFailure):
                self.statistics.engine_failed(outcome.message)
                self.statistics.dropped(ENGINE_ERROR, window.answers)
                for frame in window.frames[-window.answers :]:
                    self._in_work.pop(frame.seq, None)
                continue
            for stage, seconds in outcome.stages_s.items():
                self.statistics.stage(stage, seconds)
            self.statistics.out_of_slots(outcome.out_of_slots)
            for tracked in outcome.frames:
                await self._publish(tracked, served, outcome.stages_s)

    async def _blurred(self, tracked: TrackedFrame) -> TrackedFrame:
        """The frame as it may be shown; not on the event loop's thread."""
        started = time.monotonic()
        blurred = await asyncio.get_running_loop().run_in_executor(None, self.scene.blur.of, tracked)
        blur_s = time.monotonic() - started
        self.statistics.stage("blur", blur_s)
        return replace(blurred, stages_s={**tracked.stages_s, "blur": blur_s})

    async def _publish(self, tracked: TrackedFrame, served: Served, stages_s: Mapping[str, float]) -> None:
        """Hand out a frame that was answered in that turn; its window spent `stages_s` in the engine."""
        received = self._in_work.pop(tracked.seq, None)
        if received is not None:
            before_s = _stages_before(received, served)
            self.statistics.stage("queue", before_s["queue"])
            tracked = replace(tracked, stages_s={**before_s, **stages_s})
        if self.scene.blur.any:
            tracked = await self._blurred(tracked)
        if self._tenure is not None:
            tracked = replace(tracked, epoch=self._tenure.epoch)
            if not self._tenure.holds:
                self.statistics.dropped(NOT_OURS)
                return
        started = time.monotonic()
        published = self.hub.publish(self.scene.tracks.of(tracked))
        self.statistics.stage("publish", time.monotonic() - started)
        from_s = tracked.captured_at_s
        if tracked.clock == "media" and received is not None:
            from_s = received.at_s  # a file has no capture: count from the moment it was decoded
        traced = None if self._traces is None else self._traces.frame(published, from_s)
        self.statistics.published(published, published.published_at_s - from_s, traced)
        if self._sink is not None:
            await self._sink(published)


def _stages_before(received: _Received, served: Served) -> dict[str, float]:
    """Where a frame's time went before its camera's turn began: on its way to the reader; in the ring, while the frame
    before was in work or for the others of its window; and for the engine, while other cameras had their turn.
    """
    wanted_at_s = max(received.at_monotonic_s, served.asked_at_s)
    stages_s = {
        "queue": max(0.0, wanted_at_s - received.at_monotonic_s),
        "schedule": max(0.0, served.began_at_s - wanted_at_s),
    }
    if received.frame.clock == "media":  # a file has no capture
        return stages_s
    return {"receive": max(0.0, received.at_s - received.frame.captured_at_s), **stages_s}
