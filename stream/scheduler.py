"""The windows of all cameras onto the engine: one after another, or several at once.

Owns the engine's threads. A camera asks for its turn, and only when that comes, on the engine's thread, are its windows
cut: of the newest frames there are by then, so that waiting for other cameras makes no answer older. Whose turn it is,
`stream.turns` says. An engine that answers several cameras at once is given as many as ask by then: none waits for a
batch to fill, as those that come while it works are the next one. One whose work has two halves that can overlap
(`StagedEngine`) does the second on another thread, while the first of the next turn is done; no more than one turn is
between them, or its frames would grow old there. What a turn comes to, errors in the engine with it, is `turn_work`'s.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from stream.engine import BatchEngine, Engine, ResumableEngine, StagedEngine
from stream.errors import ConfigError, DataError, SyncVISError
from stream.turn_work import CLOSED, Cut, EngineFailure, FailureLog, Outcome, Served, Turn, TurnWork, one_line
from stream.turns import Asked, Turns

__all__ = ["CLOSED", "Cut", "EngineFailure", "Outcome", "Scheduler", "Served"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Scheduler:
    """Lets the engine answer all cameras. Use `start()`, then `close()`, on one event loop.

    `overlap`: do both halves of a `StagedEngine` at the same time also where it does not ask for that: more windows a
    second, each of them answered later.
    """

    def __init__(self, engine: Engine, *, overlap: bool = False) -> None:
        self.engine = engine
        self._overlap = overlap
        self._most, self._overlaps = _most_windows(engine), self._overlapping(engine)
        self._asking: dict[str, Turn] = {}
        self._between: TurnWork | None = None
        """Encoded, and to be answered by the second thread."""
        self._answering = False
        self._busy_until_s = 0.0
        self._errands: deque[tuple[Callable[[], None], asyncio.Future[None]]] = deque()
        self._turns = Turns()
        self._changed = threading.Condition()
        self._failures = FailureLog()
        self._threads: list[threading.Thread] = []
        self._ended = asyncio.Event()
        self._closing = self._over = False

    def start(self) -> None:
        """Start the engine's threads."""
        loop = asyncio.get_running_loop()
        for name, work in (("engine", self._work), ("engine answers", self._answer_all)):
            self._threads.append(threading.Thread(target=work, args=(loop,), name=name, daemon=True))
            self._threads[-1].start()

    async def begin(self, camera: str, cut: Cut, priority: int = 0) -> asyncio.Future[Served]:
        """Wait for the camera's turn, when its windows are what `cut` gives on the engine's thread; from then on it may
        ask for the next one. Returns what will be the engine's answers, which raises what `cut` raised. Raises
        RuntimeError when this camera is waiting for its turn already.
        """
        loop = asyncio.get_running_loop()
        asked = Asked(priority, time.monotonic())
        turn = Turn(camera, cut, loop.create_future(), loop.create_future(), loop, asked)
        with self._changed:
            if camera in self._asking:
                raise RuntimeError(f"camera {camera}: waits for its turn already")
            closed = self._closing or not self._threads
            if not closed:
                self._asking[camera] = turn
                self._changed.notify_all()
        if closed:
            self._refuse(turn)
        try:
            await turn.begun
        except asyncio.CancelledError:
            turn.done.cancel()
            raise
        finally:
            with self._changed:
                if self._asking.get(camera) is turn:
                    del self._asking[camera]
        return turn.done

    async def serve(self, camera: str, cut: Cut, priority: int = 0) -> Served:
        """Wait for the camera's turn, and for its end: see `begin`."""
        return await (await self.begin(camera, cut, priority))

    async def forget(self, camera: str) -> None:
        """Drop the engine's state of a camera that asks no more."""

        def forget() -> None:
            self._turns.forget(camera)
            self.engine.forget(camera)

        await self._between_turns(forget)

    async def snapshot(self, camera: str) -> bytes | None:
        """All that the engine remembers of a camera's tracks; None where nothing is, or once it is closed."""
        taken: list[bytes | None] = []

        def take() -> None:
            try:
                if isinstance(self.engine, ResumableEngine):
                    taken.append(self.engine.snapshot(camera))
            except Exception as error:  # whatever the model's library raises: the thread must outlive it
                _log.error("no snapshot (camera %s): %s", camera, one_line(error))

        await self._between_turns(take)
        return taken[0] if taken else None

    async def restore(self, camera: str, data: bytes, first_id: int = 1) -> None:
        """Let a camera that has not asked yet go on from a snapshot: see `ResumableEngine`. Raises DataError, and
        ConfigError for an engine that cannot.
        """
        failed: list[SyncVISError] = []

        def restore() -> None:
            try:
                if not isinstance(self.engine, ResumableEngine):
                    raise ConfigError("this engine keeps no state that could be restored")
                self.engine.restore(camera, data, first_id)
            except SyncVISError as error:
                failed.append(error)
            except Exception as error:  # as above
                failed.append(DataError(f"tracker state: {one_line(error)}"))

        await self._between_turns(restore)
        if failed:
            raise failed[0]

    async def replace(self, engine: Engine) -> None:
        """Let another engine answer from the next turn on; it knows nothing of the cameras yet."""

        def replace() -> None:
            self.engine = engine
            self._most, self._overlaps = _most_windows(engine), self._overlapping(engine)

        await self._between_turns(replace)

    async def _between_turns(self, errand: Callable[[], None]) -> None:
        """Have something done on the engine's thread before the next turn, when none is in work; it is not to raise.
        Nothing, once closed.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing or not self._threads:
                return
            self._errands.append((errand, done))
            self._changed.notify_all()
        await done

    async def close(self, timeout_s: float = 2.0) -> None:
        """Finish the turns in work, refuse the rest, end the threads. Idempotent.

        Threads that are not back after `timeout_s` seconds are left behind (they end with the process) and
        logged.
        """
        if not self._threads or self._closing:
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            _log.error("the engine did not end within %.1f s", timeout_s)
            return
        for thread in self._threads:
            thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first thread: turns and errands, one after the other."""
        while not self._step(loop):
            pass
        for camera in tuple(self._asking):
            turn = self._asking.pop(camera, None)
            if turn is not None:
                self._refuse(turn)
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _step(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait for something to do and do it; whether that was the last. Errands come first."""
        with self._changed:
            self._changed.wait_for(self._can_go_on)
            last = self._closing
            errands = list(self._errands)
            self._errands.clear()
            turns = [] if last or errands else self._next_turns()
        for errand, done in errands:
            errand()
            loop.call_soon_threadsafe(_resolve, done, None)
        if turns:
            self._take(turns)
        return last

    def _can_go_on(self) -> bool:
        """Whether there is something to do. Errands, and the end, wait until no turn is in work."""
        if self._closing or self._errands:
            return self._between is None and not self._answering
        return bool(self._asking) and self._between is None

    def _next_turns(self) -> list[Turn]:
        """Whose turn it is; as many as the engine takes at once."""
        now_s = time.monotonic()
        turns: list[Turn] = []
        while self._asking and len(turns) < self._most:
            asking = {camera: waiting.asked for camera, waiting in self._asking.items()}
            turns.append(self._asking.pop(self._turns.next(asking, now_s)))
        return turns

    def _take(self, turns: Sequence[Turn]) -> None:
        """Do the first half of some turns, and the second here or on the other thread."""
        work = TurnWork(turns, self.engine, self._failures, overlaps=self._overlaps)
        work.encode()
        for turn in turns:
            turn.loop.call_soon_threadsafe(_resolve, turn.begun, None)
        if not self._overlaps:
            self._finish(work)
            return
        with self._changed:
            self._between = work
            self._changed.notify_all()

    def _answer_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """The second thread: what the first has encoded."""
        while True:
            with self._changed:
                self._answering = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._between is not None or self._over)
                work, self._between, self._answering = self._between, None, True
                self._changed.notify_all()
            if work is None:
                break
            self._finish(work)
        loop.call_soon_threadsafe(self._ended.set)

    def _finish(self, work: TurnWork) -> None:
        served = work.answer(self._busy_until_s)
        self._busy_until_s = time.monotonic()
        _tell(work.turns, served)

    def _overlapping(self, engine: Engine) -> bool:
        return isinstance(engine, StagedEngine) and (self._overlap or engine.overlaps)

    def _refuse(self, turn: Turn) -> None:
        """A turn that comes to nothing, as it is over; on any thread."""
        turn.loop.call_soon_threadsafe(_resolve, turn.begun, None)
        _tell((turn,), TurnWork((turn,), self.engine, self._failures).refuse())


def _most_windows(engine: Engine) -> int:
    return engine.most_windows if isinstance(engine, BatchEngine) else 1


def _tell(turns: Sequence[Turn], served: Sequence[Served | Exception]) -> None:
    for turn, said in zip(turns, served, strict=True):
        if isinstance(said, Exception):
            turn.loop.call_soon_threadsafe(_fail, turn.done, said)
        else:
            turn.loop.call_soon_threadsafe(_resolve, turn.done, said)


def _resolve(done: asyncio.Future[T], value: T) -> None:
    if not done.done():
        done.set_result(value)


def _fail(done: asyncio.Future[T], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
