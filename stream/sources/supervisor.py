"""Keeps a camera going: the only place that opens a source again.

Owns when to try again and what stays the same across connections: `seq` grows on, and the first frame after a
gap says so. Knows nothing about how a source works.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from stream.errors import (
    ConfigError,
    SourceForbidden,
    SourceInvalid,
    SourceLeft,
    SourceNotFound,
    SourceUnauthorized,
    SourceUnavailable,
    StreamError,
)
from stream.sources.base import Source
from stream.types import Frame

_REASONS: dict[type[StreamError], str] = {
    SourceUnavailable: "unavailable",
    SourceNotFound: "not_found",
    SourceUnauthorized: "unauthorized",
    SourceInvalid: "invalid",
    SourceForbidden: "forbidden",
    SourceLeft: "left",
}


def reason_of(error: StreamError) -> str:
    """A word for the kind of an error, of a handful: fit for a metric's label."""
    return _REASONS.get(type(error), "other")


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """When to try again. The n-th failure in a row (from 1) waits min(initial * factor^(n-1), max), jittered.

    `jitter` is the share by which a delay is stretched or shortened at random, so that cameras that failed
    together do not return together. A connection that gave frames for `healthy_after_s` starts the count
    anew. Errors that trying again cannot mend (a wrong password, which some cameras answer with a lock) are tried again
    every `fatal_delay_s`: somebody may mend them at the camera; None gives up on them. `fail_first` raises any
    error that comes before the very first frame.
    """

    initial_delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 30.0
    jitter: float = 0.2
    healthy_after_s: float = 10.0
    fatal_delay_s: float | None = 30.0
    fail_first: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.initial_delay_s <= self.max_delay_s and self.factor >= 1 and 0 <= self.jitter < 1):
            raise ConfigError(
                "reconnect policy: needs 0 < initial_delay_s <= max_delay_s, factor >= 1, 0 <= jitter < 1"
            )

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure in a row, at most max_delay_s * (1 + jitter)."""
        # The exponent is bounded: a camera that is away for weeks must not overflow a float.
        delay = min(self.initial_delay_s * self.factor ** min(failures - 1, 64), self.max_delay_s)
        return delay * (1 + rng.uniform(-self.jitter, self.jitter))


class SourceObserver(Protocol):
    """Told what happens to a camera. Calls come from the event loop and must not block."""

    def on_state(self, up: bool) -> None:
        """The camera gives frames now, or no longer does."""

    def on_reconnect(self, reason: str) -> None:
        """Frames came back after a failure; `reason` is the kind of what ended them (see `reason_of`)."""

    def on_drop(self, cause: str, count: int) -> None:
        """The source gave up `count` frames."""

    def on_error(self, error: StreamError) -> None:
        """A connection, or an attempt at one, failed."""


class Supervisor:
    """One camera's frames, over as many connections as it takes. `frames` is called once."""

    def __init__(
        self,
        source_factory: Callable[[], Source],
        *,
        policy: ReconnectPolicy,
        observer: SourceObserver,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._source_factory, self._policy, self._observer = source_factory, policy, observer
        self._clock, self._sleep = clock, sleep
        self._rng = rng or random.Random()
        self._seq = 0
        self._failures = 0
        self._up = False
        self._lost: StreamError | None = None

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Frames for ever from a live source; from any other until it ends.

        `seq` grows by one from frame to frame, over all connections; the first frame after a reconnect has
        `discontinuity` set. Raises StreamError from sources that are not live, and as the policy says.
        Closing the iterator, or cancelling who waits for it, closes the source.
        """
        while True:
            source = self._source_factory()
            source.on_drop = self._observer.on_drop
            started_s: float | None = None
            try:
                async with aclosing(source.frames()) as frames:
                    async for frame in frames:
                        started_s = self._clock() if started_s is None else started_s
                        yield self._numbered(frame)
                if not source.live:
                    return
                error: StreamError = SourceUnavailable(f"camera '{source.camera}': the stream ended")
            except StreamError as caught:
                error = caught
            finally:
                self._set_up(False)
                await source.close()
            if started_s is not None and self._clock() - started_s >= self._policy.healthy_after_s:
                self._failures = 0
            if isinstance(error, SourceLeft):
                self._note_leaving(error)
            else:
                await self._sleep(self._delay_after(error, source))

    def _numbered(self, frame: Frame) -> Frame:
        self._set_up(True)
        lost, self._lost = self._lost, None
        if lost is not None:
            self._observer.on_reconnect(reason_of(lost))
        gap = lost is not None and self._seq > 0
        frame = replace(frame, seq=self._seq, discontinuity=frame.discontinuity or gap)
        self._seq += 1
        return frame

    def _set_up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            self._observer.on_state(up)

    def _note_leaving(self, error: SourceLeft) -> None:
        """The next publisher is waited for, not knocked at: there is nothing to hold back."""
        self._lost = self._lost or error
        if not error.expected:
            self._observer.on_error(error)

    def _delay_after(self, error: StreamError, source: Source) -> float:
        """Seconds to wait before the next attempt; raises the error when there shall be none."""
        self._observer.on_error(error)
        if not source.live or (self._policy.fail_first and self._seq == 0):
            raise error
        self._failures += 1
        self._lost = self._lost or error
        delay_s = self._policy.delay_s(self._failures, self._rng)
        if error.retryable:
            return delay_s
        if self._policy.fatal_delay_s is None:
            raise error
        return max(delay_s, self._policy.fatal_delay_s)
