"""The controller as a Ray actor: hears the workers, orders them, tells gateways where everything is.

Owns the book and the crew. One, by its name; Ray starts it again wherever it can, and it goes on from what is stored
and from what workers report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import replace
from typing import Any

from stream.cluster.book import Book
from stream.cluster.crew import Crew
from stream.cluster.messages import Orders, Report, Settings, Table
from stream.cluster.reload import reload
from stream.cluster.spec import PackedSpec, unpacked
from stream.cluster.storage import RayStorage
from stream.cluster.wanted import Wanted
from stream.cluster.worker import Worker

_log = logging.getLogger(__name__)

TICK_S = 0.1
RECONCILE_S = 1.0
ASKED_AGAIN_S = 30.0
HOLD_S = 0.5
"""A report is answered when there is something to do, or after so long."""


class Controller:
    """`packed`: the spec of the cluster, by who started it first. `worker`: what runs on its nodes."""

    def __init__(self, packed: PackedSpec, worker: type[Worker] = Worker) -> None:
        from stream.log import set_up_logging

        self._spec = spec = unpacked(packed)
        set_up_logging(spec.config.log.level, spec.config.log.format)
        self._book = Book(RayStorage(), spec.config.cluster.lease_s, time.monotonic())
        self._crew = Crew(spec, self._died, worker)
        self._wanted: Wanted | None = None
        self._asked, self._asked_s = 0, 0.0
        self._changed = asyncio.Condition()
        self._wake: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> PackedSpec:
        """What this cluster runs, packed."""
        self._begin()
        return self._spec.packed()

    async def beat(self, report: Report) -> Orders:
        """A worker's report, and what it is to do."""
        self._begin()
        self._crew.well(report.worker)
        try:
            self._book.report(report, time.monotonic())
            self._advance()
        except OSError as error:  # of the control store, for a while: what runs goes on
            _log.error("%s", error)
        wake = self._wake.setdefault(report.worker, asyncio.Event())
        orders = self._orders(report)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                while not has_news(orders, report):
                    await wake.wait()
                    wake.clear()
                    orders = self._orders(report)
        return orders

    async def table(self, version: int, wait_s: float) -> Table:
        """Where everything is, once that is not as in `version`, or after so long."""
        self._begin()
        try:
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self._book.version != version)
        except TimeoutError:
            pass
        table = self._book.table(self._crew.problems, os.getpid())
        return replace(table, places=self._crew.places)

    async def cameras(self) -> dict[str, Settings]:
        """Which cameras there are, with their settings."""
        return self._book.cameras()

    async def add(self, camera: str, settings: Settings, most: int) -> str:
        """Let there be one more camera, of `most`; "" or why not."""
        if camera in self._book:
            return "exists"
        if len(self._book) >= most:
            return "too many"
        self._book.put(camera, settings, trusted=False)
        return ""

    async def change(self, camera: str, settings: Settings) -> bool:
        """Give a camera other settings; whether there is one."""
        if camera not in self._book:
            return False
        self._book.put(camera, settings, trusted=False)
        return True

    async def ensure(self, cameras: dict[str, Settings]) -> None:
        """Let there be these cameras, as they are in a config file."""
        for camera, settings in cameras.items():
            self._book.put(camera, settings)

    async def reload(self, before: dict[str, Settings], now: dict[str, Settings]) -> list[str]:
        """See `stream.cluster.reload`. Raises OSError."""
        return reload(self._book, before, now)

    async def remove(self, camera: str) -> bool:
        """Let there be no such camera; whether there was one."""
        try:
            self._book.remove(camera)
        except KeyError:
            return False
        return True

    async def drain(self, worker: str) -> bool:
        """Let a worker's cameras go elsewhere; whether there is such a worker."""
        if not self._book.knows(worker):
            return False
        self._book.drain(worker)
        return True

    def _orders(self, report: Report) -> Orders:
        """For one that is not known any more: to hold nothing."""
        if self._book.knows(report.worker):
            return self._book.orders(report.worker)
        return Orders(self._book.lease_s, {})

    def _advance(self) -> None:
        """Let the book do what is due, and wake whom that is of concern to. Raises OSError."""
        try:
            self._book.tick(time.monotonic())
        finally:
            for worker in self._book.changed():
                if worker in self._wake:
                    self._wake[worker].set()
                if not self._book.knows(worker):
                    self._wake.pop(worker, None)

    def _died(self, worker: str) -> None:
        self._book.died(worker)

    def _begin(self) -> None:
        """On the actor's event loop, which its constructor does not have."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._for_ever(self._tick, TICK_S)),
                asyncio.create_task(self._for_ever(self._crew.reconcile, RECONCILE_S)),
                asyncio.create_task(self._for_ever(self._ask, RECONCILE_S)),
            ]

    async def _ask(self) -> None:
        """Tell Ray's autoscaler how many workers are wanted, where it may be told, and give back those that are not."""
        cluster = self._spec.config.cluster
        if cluster.most_workers is None or not self._crew.has_looked:
            return
        if self._wanted is None:
            self._wanted = Wanted(cluster.least_workers, cluster.most_workers, cluster.fewer_after_s)
        table, now_s = replace(self._book.table(), places=self._crew.places), time.monotonic()
        workers = self._wanted.after(table, now_s)
        self._book.want(workers, cluster.fewer_after_s, now_s)
        for worker in self._book.spares():
            self._crew.give_back(worker)
        self._crew.need(workers + self._book.drained)
        if workers != self._asked or now_s - self._asked_s >= ASKED_AGAIN_S:
            await asyncio.to_thread(self._crew.ask, workers)
            if workers != self._asked:
                _log.info("room for %d worker(s) is asked for", workers)
            self._asked, self._asked_s = workers, now_s

    async def _for_ever(self, what: Any, every_s: float) -> None:
        while True:
            try:
                await what()
            except Exception as error:  # of the control store, for a while: what runs goes on
                _log.error("%s: %s", type(error).__name__, str(error).splitlines()[0] if str(error) else "")
            await asyncio.sleep(every_s)

    async def _tick(self) -> None:
        self._advance()
        async with self._changed:
            self._changed.notify_all()


def has_news(orders: Orders, report: Report) -> bool:
    """Whether orders are not what a worker does already, or it waits for them."""
    held = {name: each.epoch for name, each in report.holding.items()}
    return (
        bool(orders.begin)
        or report.lapsed
        or (orders.hold, orders.prepare, orders.draining) != (held, report.prepared, report.draining)
    )
