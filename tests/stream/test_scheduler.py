"""The scheduler is fair, outlives an engine that fails, and leaves no thread behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest

from stream.scheduler import EngineFailure, Outcome, Scheduler
from stream.types import EngineAnswer, Window
from tests.stream.frames import SquareEngine, make_frame, scheduler_of


def window(camera: str, seq: int = 0) -> Window:
    return Window((make_frame(seq, camera),), 1)


async def ask(scheduler: Scheduler, camera: str, seq: int = 0) -> Outcome:
    """A turn of one window; its outcome."""
    served = await scheduler.serve(camera, lambda: (window(camera, seq),))
    ((_, outcome),) = served.outcomes
    return outcome


async def test_all_windows_run_on_one_thread_that_ends() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    answers = await asyncio.gather(*(ask(scheduler, camera) for camera in "abc"))
    await scheduler.close()
    await scheduler.close()
    assert all(isinstance(answer, EngineAnswer) for answer in answers)
    assert engine.threads == {"engine"}
    assert "engine" not in {thread.name for thread in threading.enumerate()}


async def test_windows_are_cut_when_their_turn_comes_and_not_before() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:
        newest = 0
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "a"))
            await asyncio.to_thread(engine.at_work.wait)
            waiting = tasks.create_task(scheduler.serve("b", lambda: (window("b", newest),)))
            await asyncio.sleep(0)
            newest = 7
            engine.go_on.set()
    served = waiting.result()
    ((cut, _),) = served.outcomes
    assert cut.frames[-1].seq == 7
    assert served.asked_at_s <= served.began_at_s


async def test_a_busy_camera_waits_for_each_other_camera_once() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:

        async def greedy(camera: str) -> None:
            for seq in range(4):
                await ask(scheduler, camera, seq)

        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            for camera in "abc":
                tasks.create_task(greedy(camera))
            await asyncio.sleep(0)
            engine.go_on.set()
    # Between two windows of one camera there is never more than one of each other camera.
    order = [done.frames[-1].camera for done in engine.windows]
    for camera in "abc":
        turns = [i for i, name in enumerate(order) if name == camera]
        for before, after in pairwise(turns):
            between = order[before + 1 : after]
            assert len(between) == len(set(between))


async def test_a_higher_priority_goes_first() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "first"))
            await asyncio.to_thread(engine.at_work.wait)
            for camera, priority in (("low", 1), ("high", 9), ("middle", 5)):
                tasks.create_task(scheduler.serve(camera, partial(tuple_of, camera), priority))
            await asyncio.sleep(0)
            engine.go_on.set()
    assert [done.frames[-1].camera for done in engine.windows] == ["first", "high", "middle", "low"]


def tuple_of(camera: str) -> tuple[Window]:
    return (window(camera),)


async def test_a_camera_asks_once_at_a_time() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "b"))
            await asyncio.to_thread(engine.at_work.wait)
            tasks.create_task(ask(scheduler, "a"))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="camera a"):
                await ask(scheduler, "a", 1)
            engine.go_on.set()


async def test_one_that_stops_waiting_is_not_served() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "b"))
            await asyncio.to_thread(engine.at_work.wait)
            leaving = tasks.create_task(ask(scheduler, "a"))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            engine.go_on.set()
        await ask(scheduler, "a", 1)
    assert [done.frames[-1].seq for done in engine.windows if done.frames[-1].camera == "a"] == [1]


async def test_a_failing_engine_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    engine = SquareEngine()
    engine.fail_cameras = {"bad"}
    async with scheduler_of(engine) as scheduler:
        with caplog.at_level(logging.ERROR):
            first, second = await ask(scheduler, "bad"), await ask(scheduler, "bad", 1)
        good = await ask(scheduler, "good")
    assert first == second == EngineFailure("ValueError: no such tensor")
    assert isinstance(good, EngineAnswer)
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert "camera bad, frame 1" in caplog.text


async def test_what_cutting_raises_reaches_who_asked_and_nobody_else() -> None:
    def broken() -> tuple[Window]:
        raise KeyError("no such frame")

    async with scheduler_of(SquareEngine()) as scheduler:
        with pytest.raises(KeyError, match="no such frame"):
            await scheduler.serve("a", broken)
        assert isinstance(await ask(scheduler, "b"), EngineAnswer)


async def test_what_waits_at_the_end_is_refused_not_left_hanging() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    engine.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ask(scheduler, "a"))
        waiting = tasks.create_task(ask(scheduler, "b"))
        await asyncio.sleep(0)
        closing = tasks.create_task(scheduler.close(timeout_s=30))
        await asyncio.sleep(0)
        engine.go_on.set()
    assert closing.done()
    # The worker may not have taken up the first one yet when the end was announced.
    assert isinstance(running.result(), (EngineAnswer, EngineFailure))
    assert isinstance(waiting.result(), EngineFailure)
    assert isinstance(await ask(scheduler, "c"), EngineFailure)


async def test_a_camera_that_is_gone_is_forgotten_after_its_windows() -> None:
    engine = SquareEngine()
    async with scheduler_of(engine) as scheduler:
        await ask(scheduler, "a")
        await scheduler.forget("a")
    assert engine.forgotten == ["a"]


async def test_who_leaves_while_the_last_window_is_in_work_is_not_left_waiting() -> None:
    engine = SquareEngine()
    scheduler = Scheduler(engine)
    scheduler.start()
    engine.go_on.clear()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(scheduler, "a"))
        await asyncio.to_thread(engine.at_work.wait)
        tasks.create_task(scheduler.forget("b"))
        await asyncio.sleep(0)
        tasks.create_task(scheduler.close(timeout_s=30))
        await asyncio.sleep(0)
        engine.go_on.set()
    assert engine.forgotten == ["b"]


class TogetherEngine(SquareEngine):
    """Answers up to three cameras at once; together it can be made to fail."""

    most_windows = 3

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.together_fails = False

    def process_together(self, windows: Sequence[Window]) -> list[EngineAnswer]:
        self.batches.append([each.camera for each in windows])
        if self.together_fails:
            raise RuntimeError("out of memory")
        return [self.process(each) for each in windows]


@asynccontextmanager
async def with_five_waiting(engine: TogetherEngine) -> AsyncIterator[dict[str, asyncio.Task[Outcome]]]:
    """While the engine is busy with one camera, five others come to ask, a to e; they are answered meanwhile."""
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "first"))
            await asyncio.to_thread(engine.at_work.wait)
            asking = {}
            for camera in "abcde":
                asking[camera] = tasks.create_task(ask(scheduler, camera))
                await asyncio.sleep(0)
            engine.go_on.set()
        yield asking


async def test_as_many_as_ask_are_answered_at_once_and_none_waits_for_more() -> None:
    engine = TogetherEngine()
    async with with_five_waiting(engine) as asked:
        assert all(isinstance(each.result(), EngineAnswer) for each in asked.values())
    # One alone is answered alone, then as many as the engine takes, and the rest, in their order.
    assert engine.batches == [["a", "b", "c"], ["d", "e"]]
    assert [each.camera for each in engine.windows] == ["first", *"abcde"]


async def test_where_several_at_once_fail_each_is_answered_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = TogetherEngine()
    engine.together_fails, engine.fail_cameras = True, {"b"}
    with caplog.at_level(logging.WARNING):
        async with with_five_waiting(engine) as asked:
            failed = {camera for camera, each in asked.items() if isinstance(each.result(), EngineFailure)}
    assert failed == {"b"}
    assert "engine failed on 3 windows at once (RuntimeError: out of memory)" in caplog.text


async def test_windows_on_either_side_of_a_break_are_answered_in_order_beside_others() -> None:
    engine = TogetherEngine()
    async with scheduler_of(engine) as scheduler:
        engine.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "first"))
            await asyncio.to_thread(engine.at_work.wait)
            two = tasks.create_task(scheduler.serve("a", lambda: (window("a", 0), window("a", 1))))
            one = tasks.create_task(scheduler.serve("b", lambda: (window("b", 5),)))
            none = tasks.create_task(scheduler.serve("c", lambda: ()))
            await asyncio.sleep(0)
            engine.go_on.set()
    answered = [[cut.frames[-1].seq for cut, _ in each.result().outcomes] for each in (two, one, none)]
    assert answered == [[0, 1], [5], []]
    assert engine.batches == [["a", "b"]]


async def test_another_engine_answers_from_the_next_turn_on_and_none_is_lost() -> None:
    first, second = SquareEngine(), SquareEngine()
    async with scheduler_of(first) as scheduler:
        first.go_on.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(scheduler, "a", 1))
            await asyncio.to_thread(first.at_work.wait)
            replaced = tasks.create_task(scheduler.replace(second))
            await asyncio.sleep(0)
            waiting = tasks.create_task(ask(scheduler, "b", 2))
            await asyncio.sleep(0)
            first.go_on.set()
        assert replaced.done()
        assert scheduler.engine is second
        assert isinstance(waiting.result(), EngineAnswer)
    assert [done.frames[-1].camera for done in first.windows] == ["a"]
    assert [done.frames[-1].camera for done in second.windows] == ["b"]
    assert second.threads == {"engine"}
