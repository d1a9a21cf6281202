"""The scheduler is fair, outlives an engine that fails, and leaves no thread behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import pairwise

import pytest

from stream.scheduler import EngineFailure, Scheduler
from stream.types import EngineAnswer, Window
from tests.stream.frames import SquareEngine, make_frame


def window(camera: str, seq: int = 0) -> Window:
    return Window((make_frame(seq, camera),), 1)


async def test_all_windows_run_on_one_thread_that_ends() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    answers = await asyncio.gather(*(scheduler.process(window(camera)) for camera in "abc"))
    await scheduler.close()
    await scheduler.close()
    assert all(isinstance(answer, EngineAnswer) for answer in answers)
    assert engine.threads == {"engine"}
    assert "engine" not in {thread.name for thread in threading.enumerate()}


async def test_a_busy_camera_waits_for_each_other_camera_once() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()

    async def greedy(camera: str) -> None:
        for seq in range(4):
            await scheduler.process(window(camera, seq))

    engine.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        for camera in "abc":
            tasks.create_task(greedy(camera))
        await asyncio.sleep(0)
        engine.go_on.set()
    await scheduler.close()
    # Between two windows of one camera there is never more than one of each other camera.
    order = [done.frames[-1].camera for done in engine.windows]
    for camera in "abc":
        turns = [i for i, name in enumerate(order) if name == camera]
        for before, after in pairwise(turns):
            between = order[before + 1 : after]
            assert len(between) == len(set(between))


async def test_a_camera_has_one_window_waiting() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    engine.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scheduler.process(window("a")))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="camera a"):
            await scheduler.process(window("a", 1))
        engine.go_on.set()
    await scheduler.close()


async def test_a_failing_engine_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    engine = SquareEngine()
    engine.fail_cameras = {"bad"}
    scheduler = Scheduler(engine)
    scheduler.start()
    with caplog.at_level(logging.ERROR):
        first, second = await scheduler.process(window("bad")), await scheduler.process(window("bad", 1))
    good = await scheduler.process(window("good"))
    await scheduler.close()
    assert first == second == EngineFailure("ValueError: no such tensor")
    assert isinstance(good, EngineAnswer)
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert "camera bad, frame 1" in caplog.text


async def test_what_waits_at_the_end_is_refused_not_left_hanging() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    engine.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(scheduler.process(window("a")))
        waiting = tasks.create_task(scheduler.process(window("b")))
        await asyncio.sleep(0)
        closing = tasks.create_task(scheduler.close(timeout_s=30))
        await asyncio.sleep(0)
        engine.go_on.set()
    assert closing.done()
    # The worker may not have taken up the first one yet when the end was announced.
    assert isinstance(running.result(), (EngineAnswer, EngineFailure))
    assert isinstance(waiting.result(), EngineFailure)
    assert isinstance(await scheduler.process(window("c")), EngineFailure)


async def test_a_camera_that_is_gone_is_forgotten_after_its_windows() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    await scheduler.process(window("a"))
    await scheduler.forget("a")
    await scheduler.close()
    assert engine.forgotten == ["a"]
