"""The windows of all cameras onto the one thread that runs the engine: one after another, or several at once.

Owns that thread. A camera asks for its turn, and only when that comes, on the thread itself, are its windows cut: of
the newest frames there are by then, so that waiting for other cameras makes no answer older. Whose turn it is,
`stream.turns` says. An engine that answers several cameras at once is given as many as ask by then: none waits for a
batch to fill, as those that come while it works are the next one. An error in the engine is logged, and ends neither
the camera nor its siblings. Does not know what the engine does, nor what becomes of its answers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from stream.engine import BatchEngine, Engine, ResumableEngine
from stream.errors import ConfigError, DataError, SyncVISError
from stream.turns import Asked, Turns
from stream.types import EngineAnswer, Window

_log = logging.getLogger(__name__)

T = TypeVar("T")

CLOSED = "the engine is closed"


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """The engine raised on a window; `message` is one line."""

    message: str


Outcome = EngineAnswer | EngineFailure
Cut = Callable[[], Sequence[Window]]


@dataclass(frozen=True, slots=True)
class Served:
    """What a turn came to: each window with its outcome. It was asked for at `asked_at_s`, began at `began_at_s` and
    kept the engine busy for `busy_s` seconds, its share where others were served with it; times are monotonic.
    """

    outcomes: tuple[tuple[Window, Outcome], ...]
    asked_at_s: float
    began_at_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class _Turn:
    camera: str
    cut: Cut
    done: asyncio.Future[Served]
    loop: asyncio.AbstractEventLoop
    asked: Asked
    context: Context = field(default_factory=copy_context)
    """Of who asked: what is logged is about its camera."""


class Scheduler:
    """Runs `engine.process` for all cameras on one thread. Use `start()`, then `close()`, on one event
    loop.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._most = _most_windows(engine)
        self._asking: dict[str, _Turn] = {}
        self._errands: deque[tuple[Callable[[], None], asyncio.Future[None]]] = deque()
        self._turns = Turns()
        self._changed = threading.Condition()
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()
        self._closing = False

    def start(self) -> None:
        """Start the worker thread."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(loop,), name="engine", daemon=True)
        self._thread.start()

    async def serve(self, camera: str, cut: Cut, priority: int = 0) -> Served:
        """Wait for the camera's turn and for the engine's answers to what `cut` gives when it comes, on the engine's
        thread. Raises RuntimeError when this camera is waiting for its turn already, and what `cut` raises.
        """
        loop = asyncio.get_running_loop()
        turn = _Turn(camera, cut, loop.create_future(), loop, Asked(priority, time.monotonic()))
        with self._changed:
            if camera in self._asking:
                raise RuntimeError(f"camera {camera}: waits for its turn already")
            closed = self._closing or self._thread is None
            if not closed:
                self._asking[camera] = turn
                self._changed.notify()
        if closed:
            (served,) = self._served([turn])
            if isinstance(served, Exception):
                raise served
            return served
        try:
            return await turn.done
        finally:
            with self._changed:
                if self._asking.get(camera) is turn:
                    del self._asking[camera]

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
                _log.error("no snapshot (camera %s): %s", camera, _one_line(error))

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
                failed.append(DataError(f"tracker state: {_one_line(error)}"))

        await self._between_turns(restore)
        if failed:
            raise failed[0]

    async def replace(self, engine: Engine) -> None:
        """Let another engine answer from the next turn on; it knows nothing of the cameras yet."""

        def replace() -> None:
            self.engine, self._most = engine, _most_windows(engine)

        await self._between_turns(replace)

    async def _between_turns(self, errand: Callable[[], None]) -> None:
        """Have something done on the engine's thread before the next turn; it is not to raise. Nothing, once closed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing or self._thread is None:
                return
            self._errands.append((errand, done))
            self._changed.notify()
        await done

    async def close(self, timeout_s: float = 2.0) -> None:
        """Finish the turn in work, refuse the rest, end the thread. Idempotent.

        A thread that is not back after `timeout_s` seconds is left behind (it ends with the process) and
        logged.
        """
        if self._thread is None or self._closing:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            _log.error("the engine did not end within %.1f s", timeout_s)
            return
        self._thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._step(loop):
            pass
        for camera in tuple(self._asking):
            turn = self._asking.pop(camera, None)
            if turn is not None:
                self._answer([turn])
        loop.call_soon_threadsafe(self._ended.set)

    def _step(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait for something to do and do it; whether that was the last. Errands come first."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._errands or self._asking)
            last = self._closing
            errands = list(self._errands)
            self._errands.clear()
            turns = [] if last or errands else self._next_turns()
        for errand, done in errands:
            errand()
            loop.call_soon_threadsafe(_resolve, done, None)
        if turns:
            self._answer(turns)
        return last

    def _next_turns(self) -> list[_Turn]:
        """Whose turn it is; as many as the engine takes at once."""
        now_s = time.monotonic()
        turns: list[_Turn] = []
        while self._asking and len(turns) < self._most:
            asking = {camera: waiting.asked for camera, waiting in self._asking.items()}
            turns.append(self._asking.pop(self._turns.next(asking, now_s)))
        return turns

    def _answer(self, turns: Sequence[_Turn]) -> None:
        for turn, served in zip(turns, self._served(turns), strict=True):
            if isinstance(served, Exception):
                turn.loop.call_soon_threadsafe(_fail, turn.done, served)
            else:
                turn.loop.call_soon_threadsafe(_resolve, turn.done, served)

    def _served(self, turns: Sequence[_Turn]) -> list[Served | Exception]:
        """What turns come to that are taken together; on the engine's thread, or anywhere once it is closed."""
        began_at_s = time.monotonic()
        cut = [_windows_of(turn) for turn in turns]
        outcomes: list[list[tuple[Window, Outcome]]] = [[] for _ in turns]
        while True:  # more than once where a camera has a window on either side of a break
            next_ones = [
                (i, windows[len(outcomes[i])])
                for i, windows in enumerate(cut)
                if not isinstance(windows, Exception) and len(windows) > len(outcomes[i])
            ]
            if not next_ones:
                break
            answers = self._process([(turns[i], window) for i, window in next_ones])
            for (i, window), outcome in zip(next_ones, answers, strict=True):
                outcomes[i].append((window, outcome))
        busy_s = (time.monotonic() - began_at_s) / len(turns)
        return [
            windows
            if isinstance(windows, Exception)
            else Served(tuple(said), turn.asked.at_s, began_at_s, busy_s)
            for turn, windows, said in zip(turns, cut, outcomes, strict=True)
        ]

    def _process(self, windows: Sequence[tuple[_Turn, Window]]) -> Sequence[Outcome]:
        if self._closing or self._thread is None:
            return [EngineFailure(CLOSED)] * len(windows)
        if len(windows) > 1 and isinstance(self.engine, BatchEngine):
            try:
                return self.engine.process_together([window for _, window in windows])
            except Exception as error:  # of one of them, perhaps: each by itself then
                _log.warning("engine failed on %d windows at once (%s)", len(windows), _one_line(error))
        return [turn.context.run(self._process_one, window) for turn, window in windows]

    def _process_one(self, window: Window) -> Outcome:
        try:
            return self.engine.process(window)
        except Exception as error:  # whatever the model raises: a camera must outlive it
            self._failures += 1
            newest = window.frames[-1]
            # One stack trace says it all; a camera would repeat it at its frame rate.
            trace = error if self._failures == 1 else None
            _log.error(
                "engine failed (camera %s, frame %d), failure %d: %s",
                *(newest.camera, newest.seq, self._failures, _one_line(error)),
                exc_info=trace,
            )
            return EngineFailure(_one_line(error))


def _most_windows(engine: Engine) -> int:
    return engine.most_windows if isinstance(engine, BatchEngine) else 1


def _windows_of(turn: _Turn) -> Sequence[Window] | Exception:
    try:
        return turn.context.run(turn.cut)
    except Exception as error:  # of the camera's own code: it is the camera's to say so
        return error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _resolve(done: asyncio.Future[T], value: T) -> None:
    if not done.done():
        done.set_result(value)


def _fail(done: asyncio.Future[T], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
