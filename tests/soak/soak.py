"""Rounds one after another on one server, with a census after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.soak.census import Census
from tests.soak.day import Round
from tests.soak.rounds import do_round, settled
from tests.soak.stage import Stage

WARM_UP = 2
"""Rounds after which all that is counted is there: pools of threads, modules that are imported late."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the server held after a round, at `at_s` seconds from the start."""

    at_s: float
    census: Census


async def soak(
    stage: Stage,
    rounds: Sequence[Round],
    *,
    warm_up: int = WARM_UP,
    growth: float | None = None,
    told: Callable[[Sequence[Reading]], Any] = lambda readings: None,
) -> list[Reading]:
    """Let a server live through rounds; `told` is called after each, with the readings so far. `growth`: a rest is over
    before its time where no memory has grown by more since the warm-up (`settled`); None: no rest is.
    """
    readings: list[Reading] = []
    began_s = time.monotonic()
    for number, held in enumerate(rounds):
        await do_round(stage, number, held)
        before = readings[warm_up - 1].census if len(readings) >= warm_up else None
        held_now = await settled(stage, before, growth=growth)
        readings.append(Reading(time.monotonic() - began_s, held_now))
        told(readings)
    return readings
