"""An engine's two halves at the same time: one turn is encoded while the one before is answered."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from stream.commands.models import Models
from stream.config import PipelineConfig, parse_config
from stream.engine import StagedEngine, TrackerEngine
from stream.identities import IdLedger
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scheduler import CLOSED, EngineFailure, Outcome, Scheduler
from stream.statistics import CameraStatistics
from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.checkpoint import save_model
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker
from tests.stream.frames import ListSource, SquareEngine, make_frame, scheduler_of
from tests.syncvis_online.models import TINY, pictures, tiny_checkpoint
from tests.syncvis_online.test_streaming import TRACKER


class TwoHalves(SquareEngine):
    """Answers up to three cameras at once, in two halves; the second can be held, and either be made to fail."""

    most_windows = 3
    overlaps = True

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[list[str]] = []
        self.encoding = threading.Semaphore(0)
        self.bad_pictures: set[str] = set()
        self.encoded_on: set[str] = set()

    def process_together(self, windows: Sequence[Window]) -> list[EngineAnswer]:
        return self.answer_together(self.encode_together(windows))

    def encode_together(self, windows: Sequence[Window]) -> list[Window]:
        self.encoded.append([each.camera for each in windows])
        self.encoded_on.add(threading.current_thread().name)
        self.encoding.release()
        if self.bad_pictures & {each.camera for each in windows}:
            raise ValueError("no such picture")
        return list(windows)

    def answer_together(self, encoded: Sequence[Window]) -> list[EngineAnswer]:
        if len(encoded) > 1 and self.fail_cameras & {each.camera for each in encoded}:
            raise RuntimeError("out of memory")
        return [self.process(each) for each in encoded]


@pytest.mark.parametrize(("asked", "overlaps"), [(None, False), (True, True), (False, False)])
async def test_a_config_may_ask_for_it(asked: bool | None, overlaps: bool, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(path, SyncVIS(TINY), TRACKER, {})
    model = {"name": str(path), "device": "cpu", "engine": "torch", "threads": 1, "overlap": asked}
    config = parse_config({"cameras": {"door": {"url": "synthetic:1"}}, "model": model}, "a test")
    engine = await Models(IdLedger()).load(config)
    assert isinstance(engine, StagedEngine)
    assert engine.overlaps is overlaps


def test_it_is_what_it_is_taken_for() -> None:
    assert isinstance(TwoHalves(), StagedEngine)
    assert isinstance(TrackerEngine(OnlineTracker(tiny_checkpoint(TRACKER))), StagedEngine)
    assert not isinstance(SquareEngine(), StagedEngine)


async def ask(scheduler: Scheduler, camera: str, seq: int = 0) -> Outcome:
    served = await scheduler.serve(camera, lambda: (Window((make_frame(seq, camera),), 1),))
    ((_, outcome),) = served.outcomes
    return outcome


async def encoded(engine: TwoHalves, count: int = 1) -> None:
    """Wait for so many calls of the first half."""
    for _ in range(count):
        assert await asyncio.to_thread(engine.encoding.acquire, timeout=30)


async def test_the_next_turn_is_encoded_while_one_is_answered_and_no_more_than_that_one() -> None:
    engine = TwoHalves()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "a"))
            await asyncio.to_thread(engine.at_work.wait)
            await encoded(engine)
            tasks.create_task(ask(scheduler, "b"))
            await encoded(engine)
            third = tasks.create_task(scheduler.begin("c", lambda: (Window((make_frame(7, "c"),), 1),)))
            fourth = tasks.create_task(scheduler.begin("d", lambda: (Window((make_frame(8, "d"),), 1),)))
            await asyncio.sleep(0)
            # One is answered and one waits for that: another would only grow old; who comes meanwhile goes together.
            assert engine.encoded == [["a"], ["b"]]
            assert not engine.encoding.acquire(blocking=False)
            engine.go_on.set()
        for turn in (third, fourth):
            await turn.result()
    assert engine.encoded == [["a"], ["b"], ["c", "d"]]
    assert [done.frames[-1].camera for done in engine.windows] == ["a", "b", "c", "d"]
    assert (engine.encoded_on, engine.threads) == ({"engine"}, {"engine answers"})


async def test_a_camera_may_ask_again_once_its_turn_has_begun_and_is_answered_in_order() -> None:
    engine = TwoHalves()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        turns = [await scheduler.begin("a", lambda: (Window((make_frame(0),), 1),))]
        await asyncio.to_thread(engine.at_work.wait)
        turns.append(await scheduler.begin("a", lambda: (Window((make_frame(1),), 1),)))
        assert not any(turn.done() for turn in turns)
        engine.go_on.set()
        served = await asyncio.gather(*turns)
    assert [each.outcomes[0][0].frames[-1].seq for each in served] == [0, 1]
    # The time of both is counted once: what they kept the engine busy is no more than what has passed.
    passed_s = max(each.began_at_s for each in served) - min(each.began_at_s for each in served)
    assert served[0].busy_s >= passed_s
    assert served[1].outcomes[0][1].stages_s["handover"] > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("errand", ["forget", "replace", "snapshot"])
async def test_an_errand_waits_until_no_turn_is_in_work(errand: str) -> None:
    engine, other = TwoHalves(), TwoHalves()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "a"))
            await asyncio.to_thread(engine.at_work.wait)
            tasks.create_task(ask(scheduler, "b"))
            await encoded(engine, 2)
            todo = getattr(scheduler, errand)(other if errand == "replace" else "a")
            waiting = tasks.create_task(todo)
            after = tasks.create_task(ask(scheduler, "c"))
            await asyncio.sleep(0)
            assert not waiting.done()
            engine.go_on.set()
        assert isinstance(after.result(), EngineAnswer)
    assert [done.frames[-1].camera for done in engine.windows][:2] == ["a", "b"]
    assert engine.forgotten == (["a"] if errand == "forget" else [])
    assert [done.frames[-1].camera for done in other.windows] == (["c"] if errand == "replace" else [])


@pytest.mark.parametrize("half", ["bad_pictures", "fail_cameras"])
async def test_whichever_half_fails_only_the_camera_that_it_fails_for_is_met(
    half: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = TwoHalves()
    getattr(engine, half).add("c")
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        with caplog.at_level(logging.WARNING):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask(scheduler, "a"))
                await asyncio.to_thread(engine.at_work.wait)
                tasks.create_task(ask(scheduler, "x"))
                await encoded(engine, 2)
                asked = {name: tasks.create_task(ask(scheduler, name)) for name in "bcd"}
                await asyncio.sleep(0)
                engine.go_on.set()
    failed = {name for name, task in asked.items() if isinstance(task.result(), EngineFailure)}
    assert failed == {"c"}
    assert "engine failed on 3 windows at once" in caplog.text
    assert "engine failed (camera c, frame 0), failure 1" in caplog.text


async def test_turns_in_work_are_finished_at_the_end_and_those_that_wait_refused() -> None:
    engine = TwoHalves()
    scheduler = Scheduler(engine)
    scheduler.start()
    engine.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(ask(scheduler, "a"))]
        await asyncio.to_thread(engine.at_work.wait)
        running.append(tasks.create_task(ask(scheduler, "b")))
        await encoded(engine, 2)
        waiting = tasks.create_task(ask(scheduler, "c"))
        await asyncio.sleep(0)
        tasks.create_task(scheduler.close(timeout_s=30))
        await asyncio.sleep(0)
        engine.go_on.set()
    assert all(isinstance(each.result(), EngineAnswer) for each in running)
    assert waiting.result() == EngineFailure(CLOSED)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


async def test_on_a_processor_all_is_done_on_one_thread_unless_it_is_asked_for() -> None:
    engine = TwoHalves()
    engine.overlaps = False
    async with scheduler_of(engine) as scheduler:
        await ask(scheduler, "a")
    assert engine.threads == engine.encoded_on == {"engine"}
    async with scheduler_of(engine, overlap=True) as scheduler:
        await ask(scheduler, "a")
    assert engine.threads == {"engine", "engine answers"}


async def test_a_video_is_tracked_alike_with_and_without() -> None:
    """The real tracker and the real pipeline; a camera with a break in the middle."""

    async def tracked(overlap: bool) -> list[tuple[int, tuple[tuple[int, bytes], ...]]]:
        frames = [
            Frame("cam", i, i, Fraction(1, 10), i / 10 + (5.0 if i > 12 else 0.0), image)
            for i, image in enumerate(pictures(24, seed=5))
        ]
        said: list[tuple[int, tuple[tuple[int, bytes], ...]]] = []

        async def keep(frame: TrackedFrame) -> None:
            said.append((frame.seq, tuple((t.track_id, t.mask["counts"]) for t in frame.tracks if t.mask)))

        engine = TrackerEngine(OnlineTracker(tiny_checkpoint(TRACKER, seed=2)))
        scheduler = Scheduler(engine, overlap=overlap)
        scheduler.start()
        statistics = CameraStatistics("cam", "file", Metrics(CollectorRegistry()))
        pipeline = CameraPipeline(ListSource(frames), scheduler, statistics, PipelineConfig(), sink=keep)
        try:
            await pipeline.run()
        finally:
            await scheduler.close()
        return said

    alone, beside = await tracked(False), await tracked(True)
    assert beside == alone
    assert [seq for seq, _ in alone] == list(range(24))
    assert sum(len(tracks) for _, tracks in alone) >= 24
    assert np.unique([i for _, tracks in alone for i, _ in tracks]).size > 1
