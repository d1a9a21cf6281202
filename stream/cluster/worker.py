"""A worker as a Ray actor: the single machine's service and its HTTP server, on an event loop of its own, and the
reports by which it keeps what it has.

Owns the process's end: whatever is wrong with it is raised by `run`. No picture and no result goes through Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError
from ray.util import get_node_ip_address

from stream.cluster.messages import Orders, Report
from stream.cluster.spec import PackedSpec, unpacked
from stream.errors import ConfigError
from stream.tenure import boot_time_s

if TYPE_CHECKING:
    from stream.app import Service
    from stream.cluster.host import Host
    from stream.commands.web import WebServer
    from stream.config import ServeConfig
    from stream.engine import Engine
    from stream.identities import IdLedger

_log = logging.getLogger(__name__)

CONTROLLER = "controller"
RETRY_S = 0.2
RENEWED_EVERY_S = 3600.0
LEAST_S = 0.05
"""Between two reports: what takes a while to be done is not asked for without a pause."""


class WorkerError(Exception):
    """A worker cannot work; the message is one line. (Ray pickles it: it has but this argument.)"""


class Worker:
    """`packed`: the spec of the cluster, from its controller. `name`: of the actor."""

    def __init__(self, packed: PackedSpec, name: str) -> None:
        self._packed, self._name = packed, name
        self._running: asyncio.Future[None] | None = None
        self._controller: Any = None
        self._alone = False

    async def run(self) -> None:
        """Work until the process ends. Raises WorkerError. Called again, it is the same work."""
        if self._running is None:
            self._running = asyncio.ensure_future(asyncio.to_thread(self._work))
        await asyncio.shield(self._running)

    async def pid(self) -> int:
        """Of the worker's process."""
        return os.getpid()

    async def load(self, config: ServeConfig, ledger: IdLedger) -> Engine:
        """The engine of all its cameras. Raises ModelError, ConfigError."""
        from stream.commands.models import Models

        return await Models(ledger).load(config)

    def _work(self) -> None:
        try:
            self._spec = unpacked(self._packed)
            asyncio.run(self._serve())
        except Exception as error:
            _log.exception("worker %s ended", self._name)
            raise WorkerError(f"{type(error).__name__}: {error}".splitlines()[0]) from None

    async def _serve(self) -> None:
        from stream.app import Service
        from stream.cluster.host import Host
        from stream.identities import IdLedger
        from stream.log import set_up_logging
        from stream.memory import trimmed
        from stream.mqtt import mqtt_events
        from stream.sources import warm_up
        from stream.tracing import tracing
        from stream.webrtc.late_retransmission import expect_late_retransmissions

        config = self._spec.worker_config(get_node_ip_address(), self._name)
        set_up_logging(config.log.level, config.log.format)
        expect_late_retransmissions(asyncio.get_running_loop())
        await asyncio.to_thread(warm_up)
        ledger = IdLedger()
        engine = await self.load(config, ledger)
        async with (
            trimmed(),
            tracing(config.tracing) as traces,
            Service(config, engine, ledger=ledger, traces=traces) as service,
            mqtt_events(config.mqtt, service.events),
        ):
            node = ray.get_runtime_context().get_node_id()
            await self._serve_http(service, config, Host(service, ledger, self._name, node))

    async def _serve_http(self, service: Service, config: ServeConfig, host: Host) -> None:
        from stream.commands.web import WebServer
        from stream.roster import Roster

        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        port = _free_port(config.server.host, self._spec.config.cluster.worker_ports)
        server = config.server.model_copy(update={"port": port})
        web = WebServer(server, None, on_ready=ready.set_result)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(web.run(service, Roster(service)), name="http server")
            address = (await ready).rstrip("/")
            _log.info("worker %s is at %s", self._name, address)
            tasks.create_task(_renew_certificate(web), name="certificate")
            await self._report(host, address)

    async def _report(self, host: Host, address: str) -> None:
        """Say how it is, do as ordered, for ever. While the controller is away, what is held is held to its end, and
        run for a while longer.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                report = host.report(address)
                began_s = boot_time_s()
                orders = await self._orders(report)
                if orders is not None:
                    host.obey(orders, began_s)
                tasks.create_task(host.settle(), name="settle cameras")
                tasks.create_task(host.take_snapshots(), name="snapshots of trackers")
                least_s = RETRY_S if orders is None else LEAST_S
                await asyncio.sleep(max(0.0, began_s + least_s - boot_time_s()))

    async def _orders(self, report: Report) -> Orders | None:
        try:
            async with asyncio.timeout(self._spec.config.cluster.lease_s):
                if self._controller is None:  # where the control store is away, this blocks
                    self._controller = await asyncio.to_thread(ray.get_actor, CONTROLLER)
                orders: Orders = await answer_of(self._controller.beat.remote(report))
        except Exception as error:  # ValueError, several of Ray's, TimeoutError: it is tried again
            if isinstance(error, ActorDiedError):
                self._controller = None
            if not self._alone:
                _log.warning(
                    "the controller does not answer: %s", str(error).partition("\n")[0] or "not in time"
                )
            self._alone = True
            return None
        self._alone = False
        return orders


async def _renew_certificate(web: WebServer) -> None:
    """Read it again now and then, for ever: nobody sends a worker a signal."""
    while True:
        await asyncio.sleep(RENEWED_EVERY_S)
        try:
            web.renew_certificate()
        except ConfigError as error:
            _log.error("the certificate was not loaded again: %s", error)


async def answer_of(reference: Any) -> Any:
    """What a call of an actor comes to, on any event loop."""
    future: Future[Any] = reference.future()
    return await asyncio.wrap_future(future)


def _free_port(host: str, ports: tuple[int, int] | None) -> int:
    """A port of those that nobody listens on; 0, any, where none are named. Raises ConfigError."""
    if ports is None:
        return 0
    for port in range(ports[0], ports[1] + 1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise ConfigError(f"cluster.worker_ports: none of {ports[0]} to {ports[1]} is free")
