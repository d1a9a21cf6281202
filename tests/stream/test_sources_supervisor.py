from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import (
    ConfigError,
    SourceInvalid,
    SourceLeft,
    SourceUnauthorized,
    SourceUnavailable,
    StreamError,
)
from stream.sources import ReconnectPolicy, Supervisor
from stream.sources.base import DropCallback, ignore_drops
from stream.types import Frame

IMAGE = np.zeros((2, 2, 3), np.uint8)
GONE = SourceUnavailable("rtsp://cam/1: connection refused")


class Clock:
    """Time that passes only in `sleep` and by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.now_s += duration_s
        await asyncio.sleep(0)


class FakeSource:
    """Gives so many frames, one each `step_s` of the fake clock, and then ends or fails."""

    def __init__(
        self, clock: Clock, count: int, error: StreamError | None, *, live: bool = True, step_s: float = 0.04
    ) -> None:
        self.camera, self.live = "door", live
        self.on_drop: DropCallback = ignore_drops
        self.closed = False
        self._clock, self._count, self._error, self._step_s = clock, count, error, step_s

    async def frames(self) -> AsyncGenerator[Frame, None]:
        for seq in range(self._count):
            self.on_drop("corrupt", 1)
            yield Frame("door", seq, seq * 3600, Fraction(1, 90000), self._clock(), IMAGE)
            self._clock.now_s += self._step_s
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        self.closed = True


class Observer:
    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []
        self.dropped = 0

    def on_state(self, up: bool) -> None:
        self.events.append(("state", up))

    def on_reconnect(self, reason: str) -> None:
        self.events.append(("reconnect", reason))

    def on_drop(self, cause: str, count: int) -> None:
        self.dropped += count

    def on_error(self, error: StreamError) -> None:
        self.events.append(("error", error))


class Scene:
    """A supervisor over a list of connections, with a fake clock. Further connections fail."""

    def __init__(self, plan: Sequence[Callable[[Clock], FakeSource]], policy: ReconnectPolicy) -> None:
        self.clock, self.observer = Clock(), Observer()
        self.sources: list[FakeSource] = []
        self._plan = plan
        self.supervisor = Supervisor(
            self._next,
            policy=policy,
            observer=self.observer,
            clock=self.clock,
            sleep=self.clock.sleep,
            rng=random.Random(7),
        )

    def _next(self) -> FakeSource:
        at = len(self.sources)
        make = self._plan[at] if at < len(self._plan) else connection(0, GONE)
        self.sources.append(make(self.clock))
        return self.sources[-1]

    async def take(self, count: int) -> list[Frame]:
        taken: list[Frame] = []
        async with aclosing(self.supervisor.frames()) as frames:
            async for frame in frames:
                taken.append(frame)
                if len(taken) == count:
                    break
        return taken


def connection(
    count: int, error: StreamError | None, *, live: bool = True, step_s: float = 0.04
) -> Callable[[Clock], FakeSource]:
    return lambda clock: FakeSource(clock, count, error, live=live, step_s=step_s)


async def test_seq_grows_over_reconnects_and_only_the_first_frame_after_one_is_a_discontinuity() -> None:
    scene = Scene(
        [connection(3, GONE), connection(0, GONE), connection(2, None), connection(9, None)],
        ReconnectPolicy(),
    )
    frames = await scene.take(8)
    assert [frame.seq for frame in frames] == list(range(8))
    assert [frame.seq for frame in frames if frame.discontinuity] == [3, 5]


async def test_the_observer_sees_each_change_once() -> None:
    scene = Scene([connection(2, GONE), connection(0, GONE), connection(2, None)], ReconnectPolicy())
    await scene.take(3)
    assert scene.observer.events == [
        ("state", True),
        ("state", False),
        ("error", GONE),
        ("error", GONE),
        ("state", True),
        ("reconnect", "unavailable"),
        ("state", False),
    ]
    assert scene.observer.dropped == 3


async def test_delays_grow_to_a_cap_and_start_anew_after_a_healthy_connection() -> None:
    policy = ReconnectPolicy(
        initial_delay_s=1, factor=2, max_delay_s=8, jitter=0, healthy_after_s=10, fail_first=False
    )
    plan = [connection(0, GONE)] * 6 + [connection(100, GONE, step_s=1.0), connection(1, None)]
    scene = Scene(plan, policy)
    await scene.take(101)
    assert scene.clock.slept == [1, 2, 4, 8, 8, 8, 1]


async def test_a_connection_that_dies_young_does_not_reset_the_delays() -> None:
    policy = ReconnectPolicy(initial_delay_s=1, factor=2, max_delay_s=8, jitter=0, healthy_after_s=10)
    scene = Scene([connection(2, GONE)] * 5, policy)
    await scene.take(9)
    assert scene.clock.slept == [1, 2, 4, 8]


@given(
    failures=st.integers(1, 10_000),
    initial=st.floats(0.01, 5),
    factor=st.floats(1, 10),
    cap=st.floats(5, 600),
    jitter=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
def test_jitter_stays_within_its_bounds(
    failures: int, initial: float, factor: float, cap: float, jitter: float, seed: int
) -> None:
    policy = ReconnectPolicy(initial_delay_s=initial, factor=factor, max_delay_s=cap, jitter=jitter)
    middle = min(initial * factor ** min(failures - 1, 64), cap)
    delay = policy.delay_s(failures, random.Random(seed))
    assert middle * (1 - jitter) - 1e-9 <= delay <= middle * (1 + jitter) + 1e-9
    assert delay <= cap * (1 + jitter) + 1e-9


def test_jitter_spreads_cameras_that_failed_together() -> None:
    policy = ReconnectPolicy()
    assert len({policy.delay_s(3, random.Random(seed)) for seed in range(20)}) == 20


async def test_what_trying_again_cannot_mend_is_tried_slowly() -> None:
    policy = ReconnectPolicy(fatal_delay_s=60, jitter=0)
    scene = Scene([connection(0, SourceUnauthorized("x")), connection(1, None)], policy)
    assert len(await scene.take(1)) == 1
    assert scene.clock.slept == [60]


async def test_after_a_publisher_has_left_the_next_one_is_waited_for_at_once() -> None:
    left, lost = SourceLeft("x"), SourceLeft("silent", expected=False)
    scene = Scene([connection(2, left), connection(2, lost), connection(1, None)], ReconnectPolicy())
    frames = await scene.take(5)
    assert [frame.discontinuity for frame in frames] == [False, False, True, False, True]
    assert scene.clock.slept == []
    assert [event for event in scene.observer.events if event[0] == "error"] == [("error", lost)]
    assert [event for event in scene.observer.events if event[0] == "reconnect"] == [
        ("reconnect", "left")
    ] * 2


async def test_or_not_at_all_when_the_policy_says_so() -> None:
    scene = Scene([connection(2, SourceInvalid("x"))], ReconnectPolicy(fatal_delay_s=None))
    with pytest.raises(SourceInvalid):
        await scene.take(3)
    assert all(source.closed for source in scene.sources)


async def test_fail_first_raises_until_the_first_frame_and_retries_after_it() -> None:
    scene = Scene([connection(0, GONE)], ReconnectPolicy(fail_first=True))
    with pytest.raises(SourceUnavailable):
        await scene.take(1)
    scene = Scene([connection(1, GONE), connection(1, None)], ReconnectPolicy(fail_first=True))
    assert len(await scene.take(2)) == 2


async def test_media_with_an_end_ends_and_its_errors_are_raised() -> None:
    scene = Scene([connection(3, None, live=False)], ReconnectPolicy())
    assert len(await scene.take(99)) == 3
    scene = Scene([connection(3, SourceInvalid("damaged"), live=False)], ReconnectPolicy())
    with pytest.raises(SourceInvalid):
        await scene.take(99)
    assert scene.observer.events[-1][0] == "error"


async def test_cancelling_closes_the_source() -> None:
    waiting = asyncio.Event()

    class Silent(FakeSource):
        async def frames(self) -> AsyncGenerator[Frame, None]:
            waiting.set()
            await asyncio.Event().wait()
            yield Frame("door", 0, 0, Fraction(1), 0.0, IMAGE)

    scene = Scene([lambda clock: Silent(clock, 0, None)], ReconnectPolicy())
    task = asyncio.create_task(scene.take(1))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [source.closed for source in scene.sources] == [True]


@pytest.mark.parametrize(
    "wrong",
    [{"initial_delay_s": 0}, {"initial_delay_s": 9, "max_delay_s": 1}, {"factor": 0.5}, {"jitter": 1}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ReconnectPolicy(**wrong)  # type: ignore[arg-type]
