"""One fault, done to a camera of a running service, and measured.

Owns what the measures mean. *Detected*: from setting the fault to the first thing that the camera's state, its metrics
or its frames' flags say of it. *Recovered*: from the end of removing the fault (a server that was away listens again)
to the first fresh frame: one that is published less than a second after the camera sent it, and not flagged as stale.
*Lost*: pictures that the camera was due to send from the last one before the fault to the last one watched, and that
were not published. *p99*: of the time from when a sibling was due to send a picture to its publication.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.faults.stage import Clip, Stage, Victim
from tests.faults.watch import CameraWatch, Since, delay_ms, longest_pause_s, what_it_says

USUAL = Clip()
FRESH_S = 1.0
POLL_S = 0.01
MOST_GROWTH_MS = 500
"""Of a camera's delay from before to after a fault: a busy machine is not a fault."""
UP_WITHIN_S = 120.0
BACK_WITHIN_S = 75.0
"""Twice the longest delay between two attempts, jitter included."""


@dataclass(frozen=True)
class Fault:
    """`make` sets the fault, yields, and removes it. `hold_s`: how long it lasts; `brief_s`: in `make test`, None: it
    is not done there. `seen`: whether it is to be noticed, or else to be borne without any break. `clip`: what the
    camera sends; `later`: clips that it will send; `setting`: what else is asked of `Stage.victim`. `needs_names`: it
    takes host names away (tests.faults.names).
    """

    name: str
    make: Callable[[Victim], AsyncGenerator[None]]
    hold_s: float
    brief_s: float | None = None
    seen: bool = True
    clip: Clip = USUAL
    later: tuple[Clip, ...] = ()
    setting: dict[str, Any] = field(default_factory=dict)
    needs_names: bool = False


@dataclass(frozen=True)
class Row:
    """What one fault came to. Times are in seconds, delays in milliseconds; None: it did not happen. `problems`: what
    is not as it must be; `doubts`: the same, where a machine that is too busy may be the cause.
    """

    fault: str
    held_s: float = 0.0
    detected_s: float | None = None
    seen_as: str = ""
    recovered_s: float | None = None
    frames_lost: int = 0
    delay_before_ms: int | None = None
    delay_worst_ms: int | None = None
    delay_after_ms: int | None = None
    siblings_p99_before_ms: int | None = None
    siblings_p99_during_ms: int | None = None
    siblings_pause_ms: int = 0
    siblings_lost: int = 0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


async def attempt(stage: Stage, fault: Fault, *, calm_s: float = 5.0) -> Row:
    """Do one fault to a camera of its own; `calm_s` is watched before it and after it."""
    for clip in fault.later:
        await asyncio.to_thread(clip.write, stage.folder)
    async with stage.victim(fault.clip, **fault.setting) as victim:
        up = [asyncio.create_task(_fresh(watch, time.time(), UP_WITHIN_S)) for watch in victim.watches]
        if None in await asyncio.gather(*up):
            said = what_it_says(victim.watches[0].status)
            return Row(fault.name, problems=(f"not done: it did not come up in {UP_WITHIN_S:g} s ({said})",))
        await asyncio.sleep(calm_s)
        return _row(fault, victim, await _done(stage, fault, victim, calm_s), calm_s)


@dataclass
class _Course:
    """What happened, and when (Unix seconds)."""

    victims: list[Since]
    siblings: list[Since]
    set_at_s: float
    removed_from_s: float = 0.0
    removed_at_s: float = 0.0
    back_at_s: float = 0.0
    back: list[float | None] = field(default_factory=list)
    said: str = ""


async def _done(stage: Stage, fault: Fault, victim: Victim, calm_s: float) -> _Course:
    """Set the fault, remove it, wait until it is over, and for a while after that."""
    victims, siblings = ([Since(watch) for watch in each] for each in (victim.watches, stage.siblings))
    course = _Course(victims, siblings, time.time())
    looking = asyncio.create_task(_look(victims))
    try:
        async with asynccontextmanager(fault.make)(victim):
            await asyncio.sleep(max(0.0, course.set_at_s + fault.hold_s - time.time()))
            course.removed_from_s, course.said = time.time(), what_it_says(victim.watches[0].status)
        course.removed_at_s = time.time()
        fresh = (_fresh(watch, course.removed_from_s, BACK_WITHIN_S) for watch in victim.watches)
        course.back = await asyncio.gather(*fresh)
        course.back_at_s = time.time()
        await asyncio.sleep(calm_s)
    finally:
        looking.cancel()
    return course


def _row(fault: Fault, victim: Victim, course: _Course, calm_s: float) -> Row:
    """The measures of it."""
    set_at_s, siblings = course.set_at_s, [each.watch for each in course.siblings]
    calm, during = (set_at_s - calm_s, set_at_s), (set_at_s, course.back_at_s)
    usual_ms = delay_ms(victim.watches, *calm, 50)
    after_ms = delay_ms(victim.watches, course.back_at_s + calm_s / 2, float("inf"), 50)
    signs = [each.found_as for each in course.victims] + [course.said]
    return Row(
        fault=fault.name,
        held_s=round(course.removed_from_s - set_at_s, 1),
        detected_s=_last(each.found_at_s and each.found_at_s - set_at_s for each in course.victims),
        seen_as=", then ".join(dict.fromkeys(filter(None, signs))),
        recovered_s=_last(at_s and max(0.0, at_s - course.removed_at_s) for at_s in course.back),
        frames_lost=sum(_lost(watch, set_at_s) for watch in victim.watches),
        delay_before_ms=usual_ms,
        delay_worst_ms=delay_ms(victim.watches, *during, 100),
        delay_after_ms=after_ms,
        siblings_p99_before_ms=delay_ms(siblings, *calm, 99),
        siblings_p99_during_ms=delay_ms(siblings, *during, 99),
        siblings_pause_ms=max(round(1000 * longest_pause_s(each.between(*during))) for each in siblings),
        siblings_lost=sum(each.dropped for each in course.siblings),
        notes=(*victim.notes, *_order_of_return(course.back, course.removed_at_s)),
        problems=tuple(_problems(fault, course)),
        doubts=tuple(_doubts(course.siblings, (after_ms or 0) - (usual_ms or 0))),
    )


async def _look(cameras: Sequence[Since]) -> None:
    # One at a time: to look at thirty at once would be a fault by itself.
    for camera in itertools.cycle(cameras):
        camera.look()
        await asyncio.sleep(POLL_S)


async def _fresh(watch: CameraWatch, since_s: float, within_s: float) -> float | None:
    """When the camera published the first fresh frame after a time (Unix seconds); None where it did not in time."""
    end_s = time.monotonic() + within_s
    at = len(watch.seen)
    while time.monotonic() < end_s:
        for frame in watch.seen[at:]:
            if frame.age_s < FRESH_S and frame.sent_at_s >= since_s and "stale" not in frame.flags:
                return frame.published_at_s
        at = len(watch.seen)
        await asyncio.sleep(POLL_S)
    return None


def _last(times: Iterable[float | None]) -> float | None:
    """The last of some times; None where one of them is not known."""
    found = list(times)
    known = [each for each in found if each is not None]
    return round(max(known), 2) if len(known) == len(found) else None


def _order_of_return(back: Sequence[float | None], removed_at_s: float) -> Iterator[str]:
    """Of many cameras: when the first and the middle one came back."""
    known = sorted(at_s - removed_at_s for at_s in back if at_s is not None)
    if len(back) > 1 and known:
        half = known[len(known) // 2]
        yield f"{len(known)} of {len(back)} back: the first after {known[0]:.1f} s, half after {half:.1f} s"


def _lost(watch: CameraWatch, set_at_s: float) -> int:
    """How many pictures were due and not published, from the last one before a time on."""
    before, after = watch.between(0, set_at_s), watch.between(set_at_s)
    if not before or not after:
        return 0
    due = round((after[-1].sent_at_s - before[-1].sent_at_s) * watch.fps)
    return max(0, due - len(after))


def _problems(fault: Fault, course: _Course) -> Iterator[str]:
    """What is not as it must be."""
    if None in course.back:
        yield f"{course.back.count(None)} of {len(course.back)} did not come back in {BACK_WITHIN_S:g} s"
    unseen = [each for each in course.victims if each.found_at_s is None]
    if fault.seen and unseen:
        yield "not noticed"
    if not fault.seen and len(unseen) < len(course.victims):
        yield "not borne"
    for sibling in course.siblings:
        if (what := sibling.disturbed) is not None:
            yield f"{sibling.watch.name} was disturbed ({what})"


def _doubts(siblings: Sequence[Since], growth_ms: int) -> Iterator[str]:
    if growth_ms > MOST_GROWTH_MS:
        yield "the delay has grown"
    for sibling in siblings:
        if (sign := sibling.sign()) is not None:
            yield f"{sibling.watch.name}: {sign}"
