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
from tests.faults.watch import CameraWatch, Since, longest_pause_s, percentile, what_it_says

USUAL = Clip()
FRESH_S = 1.0
POLL_S = 0.01
MOST_GROWTH_MS = 500
"""Of a camera's delay from before to after a fault: a busy machine is not a fault."""
UP_WITHIN_S = 60.0
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
    """What one fault came to. Times are in seconds, delays in milliseconds; None: it did not happen."""

    fault: str
    held_s: float
    detected_s: float | None
    seen_as: str
    recovered_s: float | None
    frames_lost: int
    delay_before_ms: float
    delay_worst_ms: float
    delay_after_ms: float
    siblings_p99_before_ms: float
    siblings_p99_during_ms: float
    siblings_pause_ms: float
    siblings_lost: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]


async def attempt(stage: Stage, fault: Fault, *, calm_s: float = 5.0) -> Row:
    """Do one fault to a camera of its own; `calm_s` is watched before it and after it."""
    for clip in fault.later:
        await asyncio.to_thread(clip.write, stage.folder)
    async with stage.victim(fault.clip, **fault.setting) as victim:
        up = [asyncio.create_task(_fresh(watch, time.time(), UP_WITHIN_S)) for watch in victim.watches]
        if None in await asyncio.gather(*up):
            said = what_it_says(victim.watches[0].status)
            raise RuntimeError(f"{fault.name}: not all of its cameras came up in {UP_WITHIN_S:g} s: {said}")
        await asyncio.sleep(calm_s)
        return await _measured(stage, fault, victim, calm_s)


async def _measured(stage: Stage, fault: Fault, victim: Victim, calm_s: float) -> Row:
    set_at_s = time.time()
    victims = [Since(watch) for watch in victim.watches]
    siblings = [Since(watch) for watch in stage.siblings]
    looking = asyncio.create_task(_look(victims))
    try:
        async with asynccontextmanager(fault.make)(victim):
            await asyncio.sleep(max(0.0, set_at_s + fault.hold_s - time.time()))
            removed_from_s, said = time.time(), what_it_says(victim.watches[0].status)
        removed_at_s = time.time()
        fresh = (_fresh(watch, removed_from_s, BACK_WITHIN_S) for watch in victim.watches)
        back = await asyncio.gather(*fresh)
        back_at_s = time.time()
        await asyncio.sleep(calm_s)
    finally:
        looking.cancel()
    calm, during = (set_at_s - calm_s, set_at_s), (set_at_s, back_at_s)
    delay_ms = [_delay_ms(victim, *calm), _delay_ms(victim, back_at_s + calm_s / 2)]
    return Row(
        fault=fault.name,
        held_s=round(removed_from_s - set_at_s, 1),
        detected_s=_last(each.found_at_s and each.found_at_s - set_at_s for each in victims),
        seen_as=", then ".join(
            dict.fromkeys(words for words in (*(each.found_as for each in victims), said) if words)
        ),
        recovered_s=_last(at_s and max(0.0, at_s - removed_at_s) for at_s in back),
        frames_lost=sum(_lost(watch, set_at_s) for watch in victim.watches),
        delay_before_ms=delay_ms[0],
        delay_worst_ms=_delay_ms(victim, *during, percent=100),
        delay_after_ms=delay_ms[1],
        siblings_p99_before_ms=_p99_ms(stage.siblings, *calm),
        siblings_p99_during_ms=_p99_ms(stage.siblings, *during),
        siblings_pause_ms=max(
            round(1000 * longest_pause_s(each.between(*during))) for each in stage.siblings
        ),
        siblings_lost=sum(each.dropped for each in siblings),
        notes=(*victim.notes, *_order_of_return(back, removed_at_s)),
        problems=tuple(_problems(fault, victims, siblings, back, delay_ms)),
    )


async def _look(cameras: Sequence[Since]) -> None:
    for camera in itertools.cycle(
        cameras
    ):  # one at a time: to look at thirty at once would be a fault by itself
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


def _delay_ms(victim: Victim, start_s: float, end_s: float = float("inf"), percent: int = 50) -> float:
    ages_s = [frame.age_s for watch in victim.watches for frame in watch.between(start_s, end_s)]
    return round(1000 * percentile(ages_s, percent))


def _p99_ms(siblings: Sequence[CameraWatch], start_s: float, end_s: float) -> float:
    ages_s = [frame.age_s for watch in siblings for frame in watch.between(start_s, end_s)]
    return round(1000 * percentile(ages_s, 99))


def _problems(
    fault: Fault, victims: Sequence[Since], siblings: Sequence[Since], back: Sequence[float | None],
    delay_ms: Sequence[float],
) -> Iterator[str]:  # fmt: skip
    """What is not as it must be."""
    if None in back:
        yield f"{back.count(None)} of {len(back)} did not come back in {BACK_WITHIN_S:g} s"
    unseen = [each for each in victims if each.found_at_s is None]
    if fault.seen and unseen:
        yield "not noticed"
    if not fault.seen and len(unseen) < len(victims):
        yield "not borne"
    if not delay_ms[1] <= delay_ms[0] + MOST_GROWTH_MS:
        yield "the delay has grown"
    for sibling in siblings:
        if (what := sibling.disturbed) is not None:
            yield f"{sibling.watch.name} was disturbed ({what})"
