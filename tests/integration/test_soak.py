"""A day in an hour on a real server (`make soak`), and a minute of it: nothing of all that comes and goes stays.

SYNCVIS_SOAK_ROUNDS: so many rounds, 60 a day, instead of the short form; SYNCVIS_SOAK_JSON: a file for the readings.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.soak.census import Census, take_census
from tests.soak.day import BRIEF, DAY, ROUNDS_A_DAY, Round, Visits
from tests.soak.soak import WARM_UP, Reading, soak
from tests.soak.stage import AS_VIEWER, CONFIG, Stage, staged
from tests.soak.verdict import GROWTH, HEAD, of_other_cameras, verdict

ROUNDS = int(os.environ.get("SYNCVIS_SOAK_ROUNDS", "0"))
JSON = os.environ.get("SYNCVIS_SOAK_JSON")
SHORT: tuple[Round, ...] = (BRIEF, replace(BRIEF, killed=Visits(webrtc=2, pictures=2, tracks=2, events=2)))
GROWTH_SHORT = 0.15
"""From the first round to the second, in which an allocator has not seen everything yet."""


def write(held: Sequence[Round], readings: Sequence[Reading]) -> None:
    """Keep what was read so far, and on what."""
    if JSON is None:
        return
    about: dict[str, Any] = {
        "model": CONFIG["model"],
        "processors": os.cpu_count(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "python": platform.python_version(),
        "round": held[-1].counts(),
        "rounds": len(readings),
        "days": len(readings) / ROUNDS_A_DAY,
    }
    rows = [
        {"at_s": round(each.at_s, 1), "counts": each.census.counts, "memory_kib": each.census.memory_kib}
        | {"series": len(each.census.sets), "connections": each.census.connections}
        for each in readings
    ]
    Path(JSON).write_text(json.dumps({"about": about, "readings": rows}, indent=1) + "\n", encoding="utf-8")


async def is_noticed_when_held(stage: Stage, before: Census) -> bool:
    """Whether one WebSocket that stays makes a difference in what is counted."""
    url = f"{stage.server.address}/api/cameras/hall/tracks".replace("http", "ws", 1)
    async with connect(url, additional_headers=AS_VIEWER) as socket:
        await socket.recv()
        now = await take_census(stage.http, stage.server.pid)
    more = {name for name, count in now.counts.items() if count > before.counts[name]}
    return {"tasks", "subscribers", "TCP sockets"} <= more


@pytest.mark.integration
@pytest.mark.timeout(300 + 600 * ROUNDS)
async def test_nothing_of_what_comes_and_goes_in_a_day_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = (DAY,) * ROUNDS if ROUNDS else SHORT
    warm_up = WARM_UP if ROUNDS else 1
    growth = GROWTH if ROUNDS else GROWTH_SHORT
    async with staged(tmp_path) as stage:
        readings = await soak(
            stage,
            rounds,
            warm_up=warm_up,
            growth=None if ROUNDS else growth,
            told=lambda so_far: write(rounds[: len(so_far)], so_far),
        )
        last = readings[-1].census
        assert await is_noticed_when_held(stage, last)
        assert not of_other_cameras(last.sets, stage.config["cameras"])
    lines = verdict(readings, warm_up=warm_up, growth=growth)
    if ROUNDS:
        with capsys.disabled():
            for what, count in DAY.counts().items():
                print(f"{count * ROUNDS:6d} {what}")
            print(HEAD, *lines, sep="\n", flush=True)
    assert not [str(line) for line in lines if not line.flat]


def reading(threads: int = 8, memory_kib: int = 400_000) -> Reading:
    return Reading(0.0, Census({"threads": threads}, {"PSS": memory_kib}, frozenset(("up",))))


def grew(readings: Sequence[Reading]) -> list[str]:
    return [line.name for line in verdict(readings) if not line.flat]


def test_one_thread_more_at_the_end_is_growth_and_before_the_warm_up_it_is_not() -> None:
    assert grew([reading(7), *[reading()] * 8]) == []
    assert grew([*[reading()] * 8, reading(9)]) == ["threads"]


def test_memory_that_creeps_is_growth_and_one_reading_that_is_high_is_not() -> None:
    steady = [reading(memory_kib=400_000 + 3000 * (number % 3)) for number in range(30)]
    assert grew(steady) == []
    assert grew([*steady[:-1], reading(memory_kib=480_000)]) == []
    assert grew([reading(memory_kib=400_000 + 600 * number) for number in range(30)]) == ["PSS, MiB"]


def test_series_of_cameras_that_are_gone_are_found() -> None:
    sets = {'a{camera="yard"}', 'a{camera="new1",cause="fps"}', "b"}
    assert of_other_cameras(sets, ["yard"]) == {'a{camera="new1",cause="fps"}'}
