"""A server whose cameras run and can be changed, for the tests of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from stream.app import Service
from stream.camera_hosts import CameraHosts
from stream.camera_store import CameraStore
from stream.config import ServeConfig, parse_config
from stream.engine import Engine
from stream.identities import IdLedger
from stream.roster import Roster
from stream.server import ServerOptions, create_app
from tests.stream.frames import SquareEngine
from tests.stream.viewer_frames import serving

ADMIN, VIEW, PUBLISH = ("0123456789abcdef-" + name for name in ("admin", "viewer", "publish"))
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
SYNTHETIC = "synthetic:7?size=160x96&fps=25"
OPTIONS = ServerOptions(publish_tokens=(PUBLISH,), admin_tokens=(ADMIN,))


@dataclass
class Running:
    """A server on loopback, and a client of it that may do all."""

    app: FastAPI
    service: Service
    roster: Roster
    http: httpx.AsyncClient
    address: str

    @property
    def names(self) -> list[str]:
        return list(self.service.cameras)

    async def add(self, name: str, url: str = SYNTHETIC, **settings: Any) -> httpx.Response:
        return await self.http.post("/api/cameras", json={"name": name, "url": url, **settings})

    async def change(self, name: str, url: str = SYNTHETIC, **settings: Any) -> httpx.Response:
        return await self.http.put(f"/api/cameras/{name}", json={"url": url, **settings})

    async def remove(self, name: str) -> httpx.Response:
        return await self.http.delete(f"/api/cameras/{name}")


def config_of(*cameras: str, **server: Any) -> ServeConfig:
    """A config of synthetic cameras."""
    tokens = {"admin_tokens": [ADMIN], "publish_tokens": [PUBLISH]}
    urls = {name: {"url": SYNTHETIC} for name in cameras}
    return parse_config({"cameras": urls, "server": tokens | server}, "test")


@asynccontextmanager
async def running(
    config: ServeConfig,
    *,
    state: Path | None = None,
    options: ServerOptions = OPTIONS,
    hosts: CameraHosts | None = None,
    engine: Engine | None = None,
) -> AsyncIterator[Running]:
    """Serve a config. `state`: where changes and ids are kept."""
    with ExitStack() as held:
        store = None if state is None else held.enter_context(closing(CameraStore(state)))
        ledger = (
            IdLedger() if state is None else held.enter_context(closing(IdLedger.open(state, config.cameras)))
        )
        service = Service(config, engine or SquareEngine(), ledger=ledger)
        roster = Roster(service, store, hosts)
        app = create_app(service, options, roster)
        async with service, serving(app) as (_, address):
            await roster.restore()
            # No connection is kept: tests count them.
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=address, headers=AS_ADMIN, limits=limits) as http:
                yield Running(app, service, roster, http, address)
            await service.close()
