"""The windows of all cameras, one after another, onto the one thread that runs the engine.

Owns that thread. Fair by construction: a camera has at most one window waiting, and windows run first come,
first served, so no camera waits for more than one window of each other camera. An error in the engine is
logged, and ends neither the camera nor its siblings. Does not know what the engine does, nor what becomes of
its answers.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass

from stream.engine import Engine
from stream.types import EngineAnswer, Window

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """The engine raised on a window; `message` is one line."""

    message: str


Outcome = EngineAnswer | EngineFailure


@dataclass(frozen=True, slots=True)
class _Job:
    call: Callable[[], EngineAnswer]
    what: str
    done: asyncio.Future[Outcome]
    loop: asyncio.AbstractEventLoop
    context: Context
    """Of who asked: what is logged is about its camera."""


class Scheduler:
    """Runs `engine.process` for all cameras on one thread. Use `start()`, then `close()`, on one event
    loop.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()
        self._closing = False

    def start(self) -> None:
        """Start the worker thread."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(loop,), name="engine", daemon=True)
        self._thread.start()

    async def process(self, window: Window) -> Outcome:
        """Wait for the engine's answer to a window. Raises RuntimeError when this camera has one waiting."""
        camera = window.frames[-1].camera
        if camera in self._waiting:
            raise RuntimeError(f"camera {camera}: a window is waiting already")
        self._waiting.add(camera)
        try:
            what = f"camera {camera}, frame {window.frames[-1].seq}"
            return await self._submit(lambda: self.engine.process(window), what)
        finally:
            self._waiting.discard(camera)

    async def forget(self, camera: str) -> None:
        """Drop the engine's state of a camera, after the windows that wait."""

        def call() -> EngineAnswer:
            self.engine.forget(camera)
            return EngineAnswer((), {})

        await self._submit(call, f"camera {camera}, end")

    async def close(self, timeout_s: float = 2.0) -> None:
        """Finish the window in work, refuse the rest, end the thread. Idempotent.

        A thread that is not back after `timeout_s` seconds is left behind (it ends with the process) and
        logged.
        """
        if self._thread is None or self._closing:
            return
        self._closing = True
        self._jobs.put(None)
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            _log.error("the engine did not end within %.1f s", timeout_s)
            return
        self._thread.join()

    async def _submit(self, call: Callable[[], EngineAnswer], what: str) -> Outcome:
        if self._closing or self._thread is None:
            return EngineFailure("the engine is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        self._jobs.put(_Job(call, what, done, loop, copy_context()))
        return await done

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closing:
                outcome: Outcome = EngineFailure("the engine is closed")
            elif job.done.cancelled():
                continue
            else:
                outcome = job.context.run(self._run, job)
            job.loop.call_soon_threadsafe(_resolve, job.done, outcome)
        loop.call_soon_threadsafe(self._ended.set)

    def _run(self, job: _Job) -> Outcome:
        try:
            return job.call()
        except Exception as error:  # whatever the model raises: a camera must outlive it
            self._failures += 1
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            # One stack trace says it all; a camera would repeat it at its frame rate.
            trace = error if self._failures == 1 else None
            _log.error(
                "engine failed (%s), failure %d: %s", job.what, self._failures, message, exc_info=trace
            )
            return EngineFailure(message)


def _resolve(done: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not done.done():
        done.set_result(outcome)
