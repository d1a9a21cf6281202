"""A few cameras' turns on their way through the engine: their windows are cut and encoded, and then answered.

Owns what a turn comes to. An error in the engine is logged, and ends neither the camera nor its siblings; where several
cameras' windows fail together, each is tried by itself. Knows no thread: the scheduler says what is done on which.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from stream.engine import BatchEngine, Engine, StagedEngine
from stream.turns import Asked
from stream.types import EngineAnswer, Window

_log = logging.getLogger(__name__)

CLOSED = "the engine is closed"


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """The engine raised on a window; `message` is one line."""

    message: str


Outcome = EngineAnswer | EngineFailure
Cut = Callable[[], Sequence[Window]]
Half = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """What a turn came to: each window with its outcome. It was asked for at `asked_at_s`, began at `began_at_s` and
    kept the engine busy for `busy_s` seconds, its share where others were served with it, and without the time in
    which the turn before did so too; times are monotonic.
    """

    outcomes: tuple[tuple[Window, Outcome], ...]
    asked_at_s: float
    began_at_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A camera's. `begun`: its windows are cut, and the camera may ask for the next one; `done`: they are answered.
    Both are of `loop`.
    """

    camera: str
    cut: Cut
    begun: asyncio.Future[None]
    done: asyncio.Future[Served]
    loop: asyncio.AbstractEventLoop
    asked: Asked
    context: Context = field(default_factory=copy_context)
    """Of who asked: what is logged is about its camera."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A window of one of the turns, and what the half of the engine that had it last made of it."""

    turn: int
    window: Window
    made: Any


class FailureLog:
    """Says that an engine failed. One stack trace says it all; a camera would repeat it at its frame rate."""

    def __init__(self) -> None:
        self._count = 0

    def of(self, window: Window, error: Exception) -> EngineFailure:
        """What became of the window."""
        self._count += 1
        newest, said = window.frames[-1], one_line(error)
        _log.error(
            "engine failed (camera %s, frame %d), failure %d: %s",
            *(newest.camera, newest.seq, self._count, said),
            exc_info=error if self._count == 1 else None,
        )
        return EngineFailure(said)


class TurnWork:
    """Turns that are taken together: `encode()`, then `answer()`. Engines without two halves do all in the second.
    `overlaps`: time passes between both.
    """

    def __init__(
        self, turns: Sequence[Turn], engine: Engine, failures: FailureLog, *, overlaps: bool = False
    ) -> None:
        self.turns = turns
        self._failures = failures
        self._encode, self._answer = _halves(engine)
        self._overlaps = overlaps
        self._errors: dict[int, Exception] = {}
        self._rounds: list[list[_Item]] = []
        self._began_at_s = self._encoded_at_s = 0.0

    def encode(self) -> None:
        """Cut the windows, and do the engine's first half."""
        self._began_at_s = time.monotonic()
        windows = [self._cut(i) for i in range(len(self.turns))]
        # More than one of a turn where a camera has a window on either side of a break.
        for k in range(max(map(len, windows), default=0)):
            items = [_Item(i, each[k], each[k]) for i, each in enumerate(windows) if len(each) > k]
            self._rounds.append(self._through(self._encode, items))
        self._encoded_at_s = time.monotonic()

    def answer(self, busy_until_s: float) -> list[Served | Exception]:
        """Do the rest; what each turn came to. `busy_until_s`: when the turns before were answered."""
        handover = {"handover": time.monotonic() - self._encoded_at_s} if self._overlaps else {}
        outcomes: list[list[tuple[Window, Outcome]]] = [[] for _ in self.turns]
        for items in self._rounds:
            for item in self._through(self._answer, items):
                answer = item.made
                if isinstance(answer, EngineAnswer):
                    answer = replace(answer, stages_s={**handover, **answer.stages_s})
                outcomes[item.turn].append((item.window, answer))
        return self._served(outcomes, busy_until_s)

    def refuse(self) -> list[Served | Exception]:
        """What turns come to once the engine is closed."""
        self._began_at_s = time.monotonic()
        refused = EngineFailure(CLOSED)
        outcomes = [[(window, refused) for window in self._cut(i)] for i in range(len(self.turns))]
        return self._served(outcomes, self._began_at_s)

    def _served(
        self, outcomes: Sequence[Sequence[tuple[Window, Outcome]]], busy_until_s: float
    ) -> list[Served | Exception]:
        busy_s = time.monotonic() - max(self._began_at_s, busy_until_s)
        return [
            self._errors.get(i)
            or Served(tuple(said), turn.asked.at_s, self._began_at_s, max(0.0, busy_s) / len(self.turns))
            for i, (turn, said) in enumerate(zip(self.turns, outcomes, strict=True))
        ]

    def _cut(self, i: int) -> Sequence[Window]:
        try:
            return self.turns[i].context.run(self.turns[i].cut)
        except Exception as error:  # of the camera's own code: it is the camera's to say so
            self._errors[i] = error
            return ()

    def _through(self, half: Half, items: Sequence[_Item]) -> list[_Item]:
        """Each item with what a half of the engine makes of it; what failed before stays as it is."""
        well = [item for item in items if not isinstance(item.made, EngineFailure)]
        if len(well) > 1:
            try:
                made = half([item.made for item in well])
            except Exception as error:  # of one of them, perhaps: each by itself then
                _log.warning("engine failed on %d windows at once (%s)", len(well), one_line(error))
            else:
                by_turn = {item.turn: x for item, x in zip(well, made, strict=True)}
                return [replace(item, made=by_turn.get(item.turn, item.made)) for item in items]
        return [self.turns[item.turn].context.run(self._alone, half, item) for item in items]

    def _alone(self, half: Half, item: _Item) -> _Item:
        if isinstance(item.made, EngineFailure):
            return item
        try:
            (made,) = half([item.made])
        except Exception as error:  # whatever the model raises: a camera must outlive it
            made = self._failures.of(item.window, error)
        return replace(item, made=made)


def _halves(engine: Engine) -> tuple[Half, Half]:
    if isinstance(engine, StagedEngine):
        return engine.encode_together, engine.answer_together
    if isinstance(engine, BatchEngine):
        return _as_they_are, lambda windows: _batch(engine, windows)
    return _as_they_are, lambda windows: [engine.process(window) for window in windows]


def _batch(engine: BatchEngine, windows: Sequence[Window]) -> Sequence[EngineAnswer]:
    return engine.process_together(windows) if len(windows) > 1 else [engine.process(windows[0])]


def _as_they_are(windows: Sequence[Window]) -> Sequence[Window]:
    return windows


def one_line(error: Exception) -> str:
    """What an error says, for a log."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
