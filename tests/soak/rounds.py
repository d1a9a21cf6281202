"""One round: everybody comes and goes, and it ends when the server is at rest again, or is not in time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.soak.census import Census, memory_of, readers_of, take_census
from tests.soak.day import Round, Visits
from tests.soak.stage import AS_VIEWER, FPS, LOOKS_A_SECOND, PUBLISH, VIEW, Stage, poll

PATIENCE_S = 300.0
"""Until all guests of a process are served, on a machine that has much else to do."""
SETTLE_S = 90.0
"""A viewer by WebRTC that has died is known to be gone after about half a minute (consent checks of ICE)."""
REST_S = 12.0
"""The server gives free memory back every ten seconds: before that, what is read is what the round needed."""
LOOK_S = 0.5
"""Between two looks at the memory meanwhile."""
WHIP_CLIENT = Path(__file__).parents[1] / "support" / "aiortc_whip_client.py"
SDP = {"Content-Type": "application/sdp"}
JSON = {"Content-Type": "application/json"}
REFUSED: tuple[tuple[int, str, str, dict[str, str], str], ...] = (
    (401, "GET", "/api/cameras", {"Authorization": "Bearer wrong"}, ""),
    (401, "GET", "/api/cameras", {"Authorization": ""}, ""),
    (403, "DELETE", "/api/cameras/yard", AS_VIEWER, ""),
    (401, "POST", "/whep/yard", {"Authorization": "Bearer wrong"} | SDP, "v=0\r\n"),
    (400, "POST", "/whep/yard", SDP, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\nm=video nonsense\r\n"),
    (415, "POST", "/whep/yard", JSON, "{}"),
    (413, "POST", "/whep/yard", SDP, "a" * 300_000),
    (404, "GET", "/api/cameras/nobody", {}, ""),
    (404, "DELETE", "/whep/yard/sessions/guessed", {}, ""),
    (400, "POST", "/api/cameras", JSON, "["),
    (422, "POST", "/api/cameras", JSON, '{"name": "x", "url": "rtsp://169.254.169.254/latest"}'),
    (422, "PUT", "/api/cameras/yard", JSON, '{"url": "synthetic:1", "no_such_key": 1}'),
)
"""What is answered, to whom who asks for what how."""


async def killed(stage: Stage, visits: Visits) -> None:
    """Guests who vanish: their process ends as when the power goes."""
    if any(asdict(visits).values()):
        async with guests(stage, visits):
            pass


async def polite(stage: Stage, visits: Visits) -> None:
    """Guests who leave."""
    async with guests(stage, visits) as process:
        await _tell(process, "", "gone")
        assert await process.wait() == 0


@asynccontextmanager
async def guests(stage: Stage, visits: Visits) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of `tests.soak.guests`, each of whom is served; it is killed unless it ends inside. Raises
    AssertionError where one was not served.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.guests"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    plan = {"address": stage.server.address, "token": VIEW, "cameras": stage.cameras} | asdict(visits)
    try:
        await _tell(process, json.dumps(plan), "here")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _tell(process: asyncio.subprocess.Process, line: str, answer: str) -> None:
    """Write a line to a process, and wait for its answer. Raises AssertionError for another, or none."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode() + b"\n")
    try:
        async with asyncio.timeout(PATIENCE_S):
            heard = (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        heard = "nothing in time"
    assert heard == answer, f"guests were to say '{answer}': '{heard}'"


async def publish(stage: Stage) -> None:
    """Somebody publishes a camera by WHIP, and ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WHIP_CLIENT), f"{stage.server.address}/whip/stage", PUBLISH),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        await stage.until(lambda report: report["stage"]["up"], "somebody publishes")
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    await stage.until(lambda report: report["stage"]["state"] == "waiting for publisher", "nobody publishes")


async def camera(stage: Stage, number: int) -> None:
    """A camera is added, changed so that it goes on, and so that it connects again, and removed: every other by a
    name that none had before.
    """
    name = f"new{number}" if number % 2 else "again"
    base = {"fps": LOOKS_A_SECOND}
    synthetic = f"synthetic:{number}?fps={FPS}&size=320x192"
    first, second = (stage.steady_url, synthetic) if number % 4 < 2 else (synthetic, stage.steady_url)
    zone = {"polygon": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}
    path = f"/api/cameras/{name}"
    steps: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
        ("POST", "/api/cameras", {"name": name, "url": first} | base),
        ("PUT", path, {"url": first, "min_score": 0.5, "zones": {"porch": zone}} | base),
        ("PUT", path, {"url": second, "blur": ["person"]} | base),
        ("DELETE", path, None),
    )
    for method, where, body in steps:
        answer = await stage.http.request(method, where, json=body)
        assert answer.is_success, (method, where, answer.status_code, answer.text)
        if body is not None:
            await stage.until(lambda report: report[name]["processed"] > 0, f"{name} is looked at")


async def reload(stage: Stage, number: int) -> None:
    """The config is edited: a camera more, another changed, the model with other settings; and back."""
    other = deepcopy(stage.config)
    other["tracker"] = {"birth_score": 0.41 + 0.01 * (number % 2)}
    loaded = stage.models_loaded()
    other["cameras"]["gate"] = {"url": stage.steady_url, "fps": LOOKS_A_SECOND}
    other["cameras"]["hall"]["min_score"] = 0.25 + 0.5 * (number % 2)
    stage.reload(other)
    await stage.until(
        lambda report: "gate" in report and report["gate"]["up"] and stage.models_loaded() == loaded + 1,
        "gate is there, and the model loaded",
    )
    stage.reload(stage.config)
    await stage.until(
        lambda report: "gate" not in report and stage.models_loaded() == loaded + 2,
        "gate is gone, and the model loaded",
    )


async def outage(stage: Stage) -> None:
    """An RTSP server dies, and is back on its port."""
    await asyncio.to_thread(stage.shaky.kill)
    await stage.until(lambda report: not report["door"]["up"], "door is down")
    await asyncio.to_thread(stage.shaky.start)
    await stage.until(lambda report: report["door"]["up"], "door is up")


async def refused(stage: Stage, number: int) -> None:
    """Somebody asks for what is not for them."""
    status, method, path, headers, body = REFUSED[number % len(REFUSED)]
    answer = await stage.http.request(method, path, headers=headers, content=body)
    assert answer.status_code == status, (method, path, answer.status_code, answer.text)


async def scrape(stage: Stage) -> None:
    """As Prometheus asks."""
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    (await stage.http.get("/metrics", headers=accept)).raise_for_status()


async def one_after_another(times: int, what: Callable[[int], Awaitable[None]], begin: int) -> None:
    """Do it so often; `begin` is the number of the first."""
    for number in range(begin, begin + times):
        await what(number)


async def do_round(stage: Stage, number: int, held: Round) -> None:
    """All that a round holds. Raises AssertionError, in a group, for what does not go as it should."""
    await killed(stage, held.killed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(polite(stage, held.polite))
        for times, what in (
            (held.publishers, lambda _: publish(stage)),
            (held.cameras, lambda at: camera(stage, at)),
            (held.reloads, lambda at: reload(stage, at)),
            (held.outages, lambda _: outage(stage)),
            (held.scrapes, lambda _: scrape(stage)),
            (held.refused, lambda at: refused(stage, at)),
        ):
            tasks.create_task(one_after_another(times, what, number * times))
    await stage.until_at_rest()


async def settled(stage: Stage, before: Census | None, *, growth: float | None = None) -> Census:
    """What the server holds after a rest, once the counts have become those of `before`, or have had time enough, and
    the least memory in that rest. `before` None: after nobody is there. With `growth` the rest ends as soon as no
    memory is more than that share above `before`: what is looked at later can only make the least less.
    """
    now: Census

    async def at_rest() -> bool:
        nonlocal now
        await _even_pools(stage)
        now = await take_census(stage.http, stage.server.pid)
        return now.counts["WebRTC sessions"] == 0 and (before is None or now.counts == before.counts)

    with suppress(AssertionError):
        await poll(at_rest, "at rest", SETTLE_S)
        enough = {} if before is None or growth is None else _allowed(before, growth)
        least = await _least_memory(stage, enough)
        await poll(at_rest, "at rest", SETTLE_S)
        return replace(
            now, memory_kib={name: min(size, least[name]) for name, size in now.memory_kib.items()}
        )
    return now


def _allowed(before: Census, growth: float) -> dict[str, float]:
    """The memory of each name that is not taken for growth, in KiB."""
    return {name: (1 + growth) * size for name, size in before.memory_kib.items()}


async def _least_memory(stage: Stage, enough: Mapping[str, float]) -> dict[str, int]:
    """The least of what is there in the course of a rest: with each window of the model some comes and goes. The rest
    is over before its time when all is down to what is `enough`.
    """
    least = memory_of(stage.server.pid, readers_of(stage.server.pid))
    for _ in range(round(REST_S / LOOK_S)):
        if enough and all(least[name] <= size for name, size in enough.items()):
            break
        await asyncio.sleep(LOOK_S)
        now = memory_of(stage.server.pid, readers_of(stage.server.pid))
        least = {name: min(size, now[name]) for name, size in least.items()}
    return least


async def _even_pools(stage: Stage) -> None:
    """Pools of threads have no size of their own: asyncio's grows to its limit with what is asked for at once, the web
    framework's lets go, when it is asked again, of threads that had nothing to do for ten seconds.
    """
    await asyncio.gather(*(scrape(stage) for _ in range(16)))
    (await stage.http.get("/api/tracks")).raise_for_status()
