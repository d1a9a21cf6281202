"""A camera's frames reach its hub, all or accounted for; a camera that fails or stalls touches no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import pytest
from prometheus_client import CollectorRegistry

from stream.config import PipelineConfig
from stream.errors import ConfigError, SourceInvalid
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline, FrameSource, Sink
from stream.scheduler import Scheduler
from stream.statistics import CameraStatistics
from stream.types import Frame, TrackedFrame
from tests.stream.frames import ListSource, SquareEngine, make_frame, scheduler_of


def pipeline_of(
    source: FrameSource, scheduler: Scheduler, name: str = "cam", *, sink: Sink | None = None, **settings: int
) -> CameraPipeline:
    statistics = CameraStatistics(name, "test", Metrics(CollectorRegistry()))
    return CameraPipeline(source, scheduler, statistics, PipelineConfig(**settings), sink=sink)


@pytest.mark.parametrize(("window_frames", "stride"), [(1, 1), (3, 1), (3, 2), (4, 4)])
async def test_a_file_loses_nothing_and_ends(window_frames: int, stride: int) -> None:
    seen: list[int] = []

    async def sink(frame: TrackedFrame) -> None:
        seen.append(frame.seq)

    source = ListSource(make_frame(seq) for seq in range(23))
    async with scheduler_of(SquareEngine(window_frames, stride)) as scheduler:
        pipeline = pipeline_of(source, scheduler, sink=sink)
        await pipeline.run()
    status = pipeline.status()
    assert seen == list(range(23))
    assert (status.received, status.processed, status.dropped) == (23, 23, {})
    assert not status.up
    assert not source.is_open
    assert [frame async for frame in pipeline.hub.subscribe()] == []


@pytest.mark.parametrize(
    ("stride", "waiting", "answered", "pace"),
    [
        (1, 1, [1], "normal"),
        (1, 2, [1, 2], "widened"),  # to twice the stride at most: all are answered, in one window
        (1, 3, [3], "skipping"),  # one was lost: only the newest, so that delay does not grow
        (1, 40, [40], "skipping"),
        (2, 2, [1, 2], "normal"),
        (2, 4, [1, 2, 3, 4], "widened"),
        (2, 9, [8, 9], "skipping"),
    ],
)
async def test_what_waited_while_the_engine_was_busy(
    stride: int, waiting: int, answered: list[int], pace: str
) -> None:
    engine = SquareEngine(4, stride)
    engine.go_on.clear()
    taken = asyncio.Event()
    first = stride - 1

    async def some() -> AsyncGenerator[Frame, None]:
        for seq in range(-first, 1):
            yield make_frame(seq)
        await taken.wait()
        for seq in range(1, waiting + 1):
            yield make_frame(seq)
        engine.go_on.set()
        await asyncio.Event().wait()

    async with scheduler_of(engine) as scheduler:
        pipeline = pipeline_of(PacedSource(some), scheduler)
        running = asyncio.create_task(pipeline.run())
        async with pipeline.hub.subscribe() as frames:
            await asyncio.to_thread(engine.at_work.wait)
            taken.set()
            async for frame in frames:
                if frame.seq == waiting:
                    break
        pipeline.stop()
        await running
    assert [frame.seq for frame in engine.windows[1].frames[-engine.windows[1].answers :]] == answered
    assert len(engine.windows) == 2
    status = pipeline.status()
    assert status.pace == pace
    assert status.dropped == ({"overload": waiting - len(answered)} if waiting > len(answered) else {})
    assert status.received == stride + waiting == status.processed + sum(status.dropped.values())


async def test_a_reconnect_is_told_also_where_the_first_frame_after_it_was_lost() -> None:
    engine = SquareEngine(4, 1)
    engine.go_on.clear()
    taken = asyncio.Event()

    async def some() -> AsyncGenerator[Frame, None]:
        yield make_frame(0)
        await taken.wait()
        for seq in range(1, 6):
            yield make_frame(seq, discontinuity=seq == 2)
        engine.go_on.set()
        await asyncio.Event().wait()

    async with scheduler_of(engine) as scheduler:
        pipeline = pipeline_of(PacedSource(some), scheduler)
        running = asyncio.create_task(pipeline.run())
        async with pipeline.hub.subscribe() as frames:
            await asyncio.to_thread(engine.at_work.wait)
            taken.set()
            async for frame in frames:
                if frame.seq == 5:
                    break
        pipeline.stop()
        await running
    assert [(each.frames[-1].seq, each.after) for each in engine.windows] == [(0, None), (5, "gap")]
    assert [frame.seq for frame in engine.windows[1].frames] == [5], "no window spans it"


class PacedSource:
    """A live camera whose frames a test yields itself."""

    paced = True

    def __init__(self, frames: Callable[[], AsyncGenerator[Frame, None]]) -> None:
        self.frames = frames


async def test_a_live_camera_drops_the_oldest_and_accounts_for_all() -> None:
    engine = SquareEngine(3, 1)
    source = ListSource((make_frame(seq) for seq in range(50)), paced=True, endless=True)
    async with scheduler_of(engine) as scheduler:
        pipeline = pipeline_of(source, scheduler, ring_frames=4)
        engine.go_on.clear()
        running = asyncio.create_task(pipeline.run())
        await source.all_given.wait()
        engine.go_on.set()
        async with pipeline.hub.subscribe() as frames:
            async for frame in frames:
                if frame.seq == 49:
                    break
        pipeline.stop()
        await running
    status = pipeline.status()
    answered = [frame.seq for window in engine.windows for frame in window.frames[-window.answers :]]
    assert answered[-1] == 49
    assert status.received == status.processed + sum(status.dropped.values())
    assert status.dropped["overload"] == 50 - len(answered)


async def test_an_engine_error_costs_only_its_own_frames() -> None:
    engine = SquareEngine(3, 2)
    engine.fail_cameras = {"bad"}
    async with scheduler_of(engine) as scheduler:
        bad = pipeline_of(ListSource(make_frame(seq, "bad") for seq in range(7)), scheduler, "bad")
        good = pipeline_of(ListSource(make_frame(seq, "good") for seq in range(7)), scheduler, "good")
        await asyncio.gather(bad.run(), good.run())
    assert bad.status().dropped == {"engine_error": 7}
    assert bad.status().last_error == "ValueError: no such tensor"
    assert good.status().processed == 7


async def test_a_source_that_fails_says_so_after_its_frames_are_answered() -> None:
    source = ListSource((make_frame(seq) for seq in range(5)), error=SourceInvalid("x.mp4: damaged"))
    async with scheduler_of(SquareEngine(2, 2)) as scheduler:
        pipeline = pipeline_of(source, scheduler)
        with pytest.raises(SourceInvalid, match=r"x\.mp4"):
            await pipeline.run()
    assert pipeline.status().processed == 5
    assert pipeline.status().last_error == "x.mp4: damaged"


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
async def test_stop_ends_it_at_any_time(steps: int) -> None:
    source = ListSource((make_frame(seq) for seq in range(3)), paced=True, endless=True)
    async with scheduler_of(SquareEngine()) as scheduler:
        pipeline = pipeline_of(source, scheduler)
        running = asyncio.create_task(pipeline.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        pipeline.stop()
        pipeline.stop()
        await running
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not source.is_open


async def test_stop_before_the_start_reads_nothing() -> None:
    source = ListSource((make_frame(seq) for seq in range(3)), endless=True)
    async with scheduler_of(SquareEngine()) as scheduler:
        pipeline = pipeline_of(source, scheduler)
        pipeline.stop()
        await pipeline.run()
    assert source.given == 0
    assert not source.is_open


async def test_cancelling_it_closes_the_source() -> None:
    source = ListSource((make_frame(seq) for seq in range(3)), endless=True)
    async with scheduler_of(SquareEngine()) as scheduler:
        running = asyncio.create_task(pipeline_of(source, scheduler).run())
        await source.all_given.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert not source.is_open


async def test_a_slow_sink_holds_a_file_back() -> None:
    reached, room = asyncio.Event(), asyncio.Event()

    async def sink(_: TrackedFrame) -> None:
        reached.set()
        await room.wait()

    source = ListSource(make_frame(seq) for seq in range(100))
    async with scheduler_of(SquareEngine()) as scheduler:
        pipeline = pipeline_of(source, scheduler, sink=sink, ring_frames=2)
        running = asyncio.create_task(pipeline.run())
        await reached.wait()
        for _ in range(200):
            await asyncio.sleep(0)
        assert source.given <= 5
        room.set()
        await running
    assert pipeline.status().processed == 100


async def test_latency_of_a_file_counts_from_decoding() -> None:
    now = 2000.0
    source = ListSource([make_frame(0, at_s=5.0, clock="media")])
    async with scheduler_of(SquareEngine()) as scheduler:
        statistics = CameraStatistics("cam", "test", Metrics(CollectorRegistry()))
        pipeline = CameraPipeline(source, scheduler, statistics, PipelineConfig(), clock=lambda: now)
        await pipeline.run()
    latency = pipeline.status().latency_ms
    assert latency is not None
    assert latency.p99 == 0.0


async def test_a_stride_beyond_the_window_is_a_config_error() -> None:
    async with scheduler_of(SquareEngine(3)) as scheduler:
        with pytest.raises(ConfigError, match=r"pipeline\.stride: the stride must be 1 to 3"):
            pipeline_of(ListSource([]), scheduler, stride=4)


@pytest.mark.parametrize("clock", ["arrival", "rtcp", "media"])
async def test_each_frame_says_where_its_time_went_and_no_more_than_there_was(clock: str) -> None:
    frames: list[TrackedFrame] = []

    async def sink(frame: TrackedFrame) -> None:
        frames.append(frame)

    taken_s = time.time() - 5
    source = ListSource(make_frame(seq, at_s=taken_s + seq / 25, clock=clock) for seq in range(7))
    async with scheduler_of(SquareEngine(3, 2)) as scheduler:
        await pipeline_of(source, scheduler, sink=sink).run()
    assert len(frames) == 7
    known = {"queue", "schedule", "decode"} | ({"receive"} if clock != "media" else set())
    for frame in frames:
        assert set(frame.stages_s) == known
        assert min(frame.stages_s.values()) >= 0
        # The engine says 10 ms that it did not take.
        assert sum(frame.stages_s.values()) <= frame.latency_s + 0.011
        if clock != "media":
            assert frame.stages_s["receive"] == pytest.approx(frame.latency_s, abs=2.5)
            assert frame.stages_s["receive"] > 4
