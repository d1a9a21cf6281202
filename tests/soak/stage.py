"""The real thing that is soaked: `syncvis-online serve` with its config, and the RTSP servers of its cameras."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from tests.integration.processes import ServeProcess
from tests.support.rtsp_server import Image, RtspServer

ADMIN, VIEW, PUBLISH = ("0123456789abcdef-" + name for name in ("admin", "viewer", "publish"))
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
AS_VIEWER = {"Authorization": f"Bearer {VIEW}"}
FPS = 5
LOOKS_A_SECOND = 1.0
"""Pictures of each camera that the model is given: so two cores carry the model that ships and all else."""
POLL_S = 0.3
CONFIG: dict[str, Any] = {
    "model": {"name": "default", "threads": 1, "engine": "torch"},
    "server": {
        "port": 0,
        "tokens": [VIEW, ADMIN],
        "admin_tokens": [ADMIN],
        "publish_tokens": [PUBLISH],
        "camera_hosts": ["127.0.0.1"],
    },
    "persist_cameras": True,
}


def clip(seed: int, width: int = 320, height: int = 192) -> list[Image]:
    """Four seconds of a bright square that goes round on grey noise."""
    noise = np.random.default_rng(seed).integers(80, 120, (height, width, 1), np.uint8).repeat(3, axis=2)
    pictures = []
    for index in range(4 * FPS):
        picture = noise.copy()
        left = (index * 7) % (width - 64)
        picture[50:110, left : left + 60] = (220, 60 + seed, 40)
        pictures.append(picture)
    return pictures


@dataclass
class Stage:
    """A server that runs; `steady` and `shaky` are RTSP servers of cameras, and `shaky` may die."""

    server: ServeProcess
    http: httpx.AsyncClient
    config_file: Path
    config: dict[str, Any]
    steady: RtspServer
    shaky: RtspServer
    steady_url: str

    @property
    def cameras(self) -> list[str]:
        """Those of the config that are watched; one more is waiting for who publishes."""
        return [name for name, camera in self.config["cameras"].items() if camera["url"] != "whip:"]

    def reload(self, config: dict[str, Any]) -> None:
        """Write another config and let the server read it."""
        self.config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
        os.kill(self.server.pid, signal.SIGHUP)

    def models_loaded(self) -> int:
        """How often the server has loaded its model again: it says so."""
        return self.server.errors().count("the model was loaded again")

    async def report(self) -> dict[str, dict[str, Any]]:
        """The cameras by name."""
        answer = await self.http.get("/api/cameras")
        answer.raise_for_status()
        return {camera["name"]: camera for camera in answer.json()}

    async def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool], what: str) -> None:
        """Ask for the cameras until something holds of them."""
        await poll(lambda: self._holds(holds), what)

    async def _holds(self, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> bool:
        return holds(await self.report())

    async def until_at_rest(self) -> None:
        """The cameras are those of the config, and deliver."""
        names, watched = set(self.config["cameras"]), self.cameras
        await self.until(
            lambda report: report.keys() == names and all(report[name]["up"] for name in watched),
            "the cameras are as at the start",
        )


async def poll(holds: Callable[[], Any], what: str, timeout_s: float = 300.0) -> None:
    """Ask until an awaitable is true. Raises AssertionError that says what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await holds():  # noqa: ASYNC110 - nothing tells when another process has done something
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Start all of it in an empty folder."""
    async with AsyncExitStack() as held:
        servers = []
        for name in ("steady", "shaky"):
            (folder / name).mkdir()
            servers.append(held.enter_context(RtspServer(folder / name)))
        urls = [server.serve_clip(clip(seed), fps=FPS, gop=FPS) for seed, server in enumerate(servers)]
        config = deepcopy(CONFIG) | {"state_dir": str(folder / "state")}
        looks = {"fps": LOOKS_A_SECOND}
        config["cameras"] = {
            "yard": {"url": urls[0], **looks},
            "door": {"url": urls[1], **looks},
            # Small: the sprites that it keeps, up to 48 MiB, would fill in the course of the short form.
            "hall": {"url": f"synthetic:5?fps={FPS}&size=160x96", **looks},
            "stage": {"url": "whip:", **looks},
        }
        config_file = folder / "serve.yaml"
        config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
        server = held.enter_context(ServeProcess(config_file))
        # No connection is kept: they are counted.
        limits = httpx.Limits(max_keepalive_connections=0)
        http = await held.enter_async_context(
            httpx.AsyncClient(base_url=server.address, headers=AS_ADMIN, limits=limits, timeout=120)
        )
        stage = Stage(server, http, config_file, config, *servers, urls[0])
        await stage.until_at_rest()
        yield stage
