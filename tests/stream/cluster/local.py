"""A cluster in one process, without Ray: a book, workers with real HTTP servers, and a gateway that asks them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from stream.app import Service
from stream.cluster.book import Book
from stream.cluster.gateway.app import create_gateway
from stream.cluster.gateway.directory import AwayError
from stream.cluster.host import Host
from stream.cluster.messages import Settings, Table
from stream.cluster.reload import reload
from stream.cluster.spec import Spec
from stream.commands.web import server_options
from stream.config import ServeConfig
from stream.engine import TrackerEngine
from stream.http_protocols import CuttingWebSocketProtocol
from stream.http_server import ViewerServer
from stream.identities import IdLedger
from stream.listening import tls_context
from stream.server import create_app
from stream.tenure import boot_time_s
from syncvis_online.config import TrackerConfig
from syncvis_online.online import OnlineTracker
from tests.stream.viewer_frames import serving
from tests.support.played_worker import MemoryStorage
from tests.syncvis_online.models import tiny_checkpoint

SECRET = "0123456789abcdef-secret"
LEASE_S = 30.0
"""So long that no busy machine ends one by itself."""
TRACKER = TrackerConfig(
    window_frames=2, birth_score=0.0, keep_score=0.0, duplicate_iou=1.0, min_area=1, max_lost_s=5.0
)


@dataclass
class LocalWorker:
    """A worker as `stream.cluster.worker` runs it, but for the actor."""

    name: str
    address: str
    service: Service
    host: Host
    server: ViewerServer
    silent: bool = False
    offset_s: float = 0.0
    """Of its own clock, from this machine's."""

    def now_s(self) -> float:
        return boot_time_s() + self.offset_s

    @property
    def sockets(self) -> int:
        """How many WebSockets are open to it."""
        connections = self.server.server_state.connections
        return sum(isinstance(each, CuttingWebSocketProtocol) for each in connections)


@dataclass
class LocalCluster:
    """`http`: a client of the gateway. `control`: what the gateway has of the controller."""

    book: Book
    workers: dict[str, LocalWorker] = field(default_factory=dict)
    away: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    http: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)
    address: str = ""
    ahead_s: float = 0.0
    """By how much the book's clock is ahead."""

    def now_s(self) -> float:
        return time.monotonic() + self.ahead_s

    async def beat(self) -> None:
        """A report of each worker that is not silent, its orders, and what comes of them."""
        for worker in self.workers.values():
            if worker.silent:
                continue
            report = worker.host.report(worker.address)
            sent_at_s = worker.now_s()
            self.book.report(report, self.now_s())
            self.book.tick(self.now_s())
            if self.book.knows(worker.name):
                worker.host.obey(self.book.orders(worker.name), sent_at_s)
            await worker.host.settle()
            await worker.host.take_snapshots()
        self.changed.set()

    async def beat_until(self, true: Any) -> None:
        """Beat until something is so; pytest's time limit is the bound."""
        while not true():
            await self.beat()
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat again and again while inside."""
        task = asyncio.create_task(self.beat_until(lambda: False), name="beat")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def owner(self, camera: str) -> LocalWorker | None:
        """Which worker has a camera, by the book."""
        owner = self.book.table().cameras.get(camera)
        return None if owner is None else self.workers[owner.worker]

    # What a gateway asks.

    async def table(self, version: int, wait_s: float) -> Table:
        """See `Control`."""
        self._answer()
        if self.book.version == version:
            self.changed.clear()
            try:
                async with asyncio.timeout(min(wait_s, 0.05)):
                    await self.changed.wait()
            except TimeoutError:
                pass
        return self.book.table()

    async def cameras(self) -> Mapping[str, Settings]:
        """See `Control`."""
        self._answer()
        return self.book.cameras()

    async def add(self, camera: str, settings: Settings, most: int) -> str:
        """See `Control`."""
        self._answer()
        if camera in self.book.cameras():
            return "exists"
        if len(self.book.cameras()) >= most:
            return "too many"
        self.book.put(camera, settings, trusted=False)
        return ""

    async def change(self, camera: str, settings: Settings) -> bool:
        """See `Control`."""
        self._answer()
        known = camera in self.book.cameras()
        if known:
            self.book.put(camera, settings, trusted=False)
        return known

    async def reload(self, before: Mapping[str, Settings], now: Mapping[str, Settings]) -> list[str]:
        """See `Control`."""
        self._answer()
        return reload(self.book, before, now)

    async def remove(self, camera: str) -> bool:
        """See `Control`."""
        self._answer()
        if camera not in self.book.cameras():
            return False
        self.book.remove(camera)
        return True

    async def drain(self, worker: str) -> bool:
        """See `Control`."""
        self._answer()
        if not self.book.knows(worker):
            return False
        self.book.drain(worker)
        return True

    def _answer(self) -> None:
        if self.away:
            raise AwayError("no answer")


@asynccontextmanager
async def local_cluster(
    config: ServeConfig, workers: int = 2, *, token: str = ""
) -> AsyncIterator[LocalCluster]:
    """A cluster that runs, with a client of its gateway who shows `token`."""
    spec = Spec(config, SECRET)
    cluster = LocalCluster(Book(MemoryStorage(), LEASE_S, time.monotonic()))
    cluster.ahead_s = 2 * LEASE_S  # nobody had a lease before
    async with AsyncExitStack() as stack:
        for i in range(workers):
            name = f"w{i}"
            ledger, settings = IdLedger(), spec.worker_config("127.0.0.1", name)
            engine = TrackerEngine(OnlineTracker(tiny_checkpoint(TRACKER)), ledger)
            service = await stack.enter_async_context(Service(settings, engine, ledger=ledger))
            app = create_app(service, server_options(settings.server, None))
            tls = None if settings.server.tls is None else tls_context(settings.server.tls)
            server, address = await stack.enter_async_context(serving(app, tls=tls))
            worker = LocalWorker(name, address, service, Host.__new__(Host), server)
            worker.host = Host(service, ledger, name, "node", now_s=worker.now_s)
            stack.push_async_callback(service.close)
            cluster.workers[name] = worker
        gateway = create_gateway(config, spec, cluster, server_options(config.server, spec.cookie_key))
        _, cluster.address = await stack.enter_async_context(serving(gateway))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        cluster.http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=cluster.address, headers=headers, timeout=30)
        )
        await cluster.beat()
        yield cluster
