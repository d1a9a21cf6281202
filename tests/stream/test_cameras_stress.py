"""Cameras come, change and go while others are watched and they themselves are, and nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.server import ServerOptions
from stream.webrtc.sessions import SessionLimits
from tests.stream.running import ADMIN, PUBLISH, SYNTHETIC, Running, config_of, running
from tests.stream.test_many_viewers import MINUTES
from tests.stream.test_roster import ws
from tests.stream.test_webrtc import SDP, Viewer
from tests.stream.viewer_frames import until

ROUNDS = 3
"""At least; as many as there is time for in the long form."""
GUESTS = 6
VIEWERS = 64 if MINUTES else 16
OPTIONS = ServerOptions(
    publish_tokens=(PUBLISH,),
    admin_tokens=(ADMIN,),
    limits=SessionLimits(2 * VIEWERS, 8, connect_timeout_s=2.0),
)
URLS = (SYNTHETIC, "synthetic:9?size=160x96&fps=20", "whip:")


class Guest(Viewer):
    """A viewer of any camera, which may be gone when it asks."""

    def __init__(self, http: httpx.AsyncClient, camera: str) -> None:
        super().__init__(http)
        self.camera = camera

    async def visit(self) -> int:
        """Ask to watch, and leave it at that: whoever is let in is let go by the camera's end, or goes itself."""
        async with self:
            query = random.choice(["", "?masks=data"])
            answer = await self.http.post(
                f"/whep/{self.camera}{query}", content=await self.offer(), headers=SDP
            )
            if answer.status_code == 201 and random.random() < 0.5:
                await self.http.delete(answer.headers["location"])
            return answer.status_code


async def read(server: Running, path: str) -> int:
    """How many messages a WebSocket brings until its camera goes; 0 where that has happened before."""
    count = 0
    with suppress(InvalidStatus):
        async with connect(ws(server, path)) as socket:
            async for _ in socket:
                count += 1
    return count


def left(server: Running) -> Counter[str]:
    """All that would grow if something were forgotten."""
    gc.collect()
    found: Counter[str] = Counter()
    found["peers"] = sum(type(each) is RTCPeerConnection for each in gc.get_objects())
    found["tasks"] = len(asyncio.all_tasks())
    found["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    found["threads"] = sum(
        not t.name.startswith(("asyncio", "overlay", "Any")) for t in threading.enumerate()
    )
    found["sessions"] = len(server.app.state.sessions) + len(server.app.state.publishers)
    found["watchers"] = len(server.service.cameras._watchers)
    found["doorways"] = len(server.service.cameras.doorways)
    return found


def series(metrics: str) -> set[str]:
    """The label sets of all series."""
    return set(re.findall(r"^\w+\{[^}]*\}", metrics, re.MULTILINE))


async def come_and_go(server: Running, name: str, chosen: random.Random) -> None:
    """One camera's life: it is added, changed and removed, with guests."""
    assert (await server.add(name, chosen.choice(URLS))).status_code == 201
    readers = [
        asyncio.create_task(read(server, path))
        for path in (
            f"/api/cameras/{name}/tracks",
            f"/api/cameras/{name}/events",
            f"/api/cameras/{name}/pictures",
        )
    ]
    for _ in range(2):
        change: dict[str, Any] = chosen.choice(
            [
                {"min_score": 0.5},
                {"labels": ["dog"]},
                {"blur": ["dog"]},
                {"fps": 5},
                {"crop": [0, 0, 0.5, 0.5]},
            ]
        )
        assert (await server.change(name, chosen.choice(URLS), **change)).status_code == 200
    await Guest(server.http, name).visit()
    assert (await server.remove(name)).status_code == 204
    await asyncio.gather(*readers)


@pytest.mark.timeout(240 + 90 * MINUTES)
async def test_what_comes_and_goes_leaves_nothing_behind(tmp_path: Path) -> None:
    chosen = random.Random(7)
    random.seed(7)
    async with running(config_of("cam", max_cameras=16), state=tmp_path, options=OPTIONS) as server:
        await until(lambda: server.service.cameras["cam"].hub.latest is not None)
        all_frames = await connect(ws(server, "/api/tracks"))
        async with Viewer(server.http) as watching:
            assert (await watching.watch("VP8")).status_code == 201
            await watching.picture()
            for name in ("warm", "up"):
                await come_and_go(server, name, chosen)
            await Guest(server.http, "cam").visit()
            await until(lambda: len(server.app.state.sessions) == 1)
            before, metrics = left(server), (await server.http.get("/metrics")).text
            kept = server.service.cameras["cam"]
            end_s = time.monotonic() + 60 * MINUTES
            for number in count():
                if number >= ROUNDS and time.monotonic() >= end_s:
                    break
                names = (f"a{number % 2}", f"b{number}")
                guests = [Guest(server.http, "cam").visit() for _ in range(GUESTS)]
                lives = [come_and_go(server, name, chosen) for name in names]
                await asyncio.gather(*lives, *guests)
            await watching.picture()
            assert server.service.cameras["cam"] is kept
            assert server.names == ["cam"]
            await until(lambda: len(server.app.state.sessions) == 1)
            await until(lambda: not left(server) - before)
            after = (await server.http.get("/metrics")).text
            await all_frames.close()
    assert not {
        each for each in series(after) - series(metrics) if 'camera="' in each and 'camera="cam"' not in each
    }
    assert not {each for each in series(after) if re.search('camera="[ab][0-9]', each)}
