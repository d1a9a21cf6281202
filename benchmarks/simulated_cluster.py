"""A cluster in simulated time: the real book, storage's records and messages; workers that take no time for anything.

Owns the clock and what is counted: processor time of what the controller does, by what it does, and the size of what
would go over the network, pickled as Ray does. That of a sample is taken for all.
"""

from __future__ import annotations

import pickle
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush

from stream.cluster.book import Book
from stream.cluster.controller import HOLD_S, TICK_S, has_news
from stream.cluster.gateway.directory import WAIT_S
from stream.cluster.messages import Held, Orders, Report, Snapshot
from stream.cluster.worker import LEAST_S, RETRY_S
from tests.support.played_worker import MemoryStorage, PlayedWorker, Ran

WAY_S = 0.001
"""From a worker to the controller."""
SNAPSHOT_EVERY_S = 1.0
PICKLED = 10
"""Of one round of messages so many are pickled, and those of gateways all."""
SETTINGS = {"url": "rtsp://user:password@camera-0000.example.org:554/stream1?channel=1&subtype=0"}


class SimulatedWorker(PlayedWorker):
    """Whose cameras' snapshots are each one of their own, as in memory and on the line."""

    def held(self, ran: Ran, snapshots: bool) -> Held:
        """See `PlayedWorker`."""
        snapshot = Snapshot(ran.next_id, self.state[:-1] + b"s") if snapshots else None
        return Held(ran.tenure.epoch, ran.revision, 25.0, True, snapshot)


class SimulatedCluster:
    """`counts`: messages by kind; `sizes`: bytes by kind; `cpu_s`: the controller's, by what it does."""

    def __init__(self, lease_s: float, state_bytes: int, gateways: int = 1) -> None:
        self.now_s, self.lease_s = 0.0, lease_s
        self.storage = MemoryStorage()
        self.book = Book(self.storage, lease_s, 0.0)
        self.workers: dict[str, PlayedWorker] = {}
        self.published_s: dict[str, float] = {}
        """When who has a camera got it."""
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.cpu_s: Counter[str] = Counter()
        self._state, self._gateways = state_bytes, gateways
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._waiting: dict[str, tuple[Report, float]] = {}
        self._told = (-1, 0.0)
        self._random = random.Random(0)
        self.at(TICK_S, self._tick)

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        """Something is to happen."""
        self._number += 1
        heappush(self._events, (when_s, self._number, what))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, what = heappop(self._events)
            what()
        self.now_s = until_s

    def add_worker(self, name: str, capacity_wps: float, when_s: float) -> None:
        """One more machine."""
        worker = SimulatedWorker(name, capacity_wps=capacity_wps, state=b"s" * self._state)
        self.workers[name] = worker
        self.at(when_s, lambda: self._beat(worker, None))

    def lose(self, names: list[str]) -> dict[str, float]:
        """Machines are gone at once, and nobody says so; when, by camera."""
        cameras = {}
        for name in names:
            worker = self.workers.pop(name)
            worker.stopped = True
            self._waiting.pop(name, None)
            cameras |= {camera: self.now_s for camera, ran in worker.cameras.items() if ran.begun}
        return cameras

    def restart_controller(self, away_s: float) -> None:
        """Its process ends, and another one begins a while later with what was written down."""
        back_s = self.now_s + away_s
        self._waiting = {}
        self._events = []  # what was on its way to it, or to be answered by it, is lost
        self.book = Book(self.storage, self.lease_s, back_s)
        self.at(back_s, self._tick)
        for worker in self.workers.values():
            self.at(back_s + self._random.random() * RETRY_S, partial(self._beat, worker, None))

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """What is done inside is the controller's work."""
        began_s = time.thread_time()
        yield
        self.cpu_s[kind] += time.thread_time() - began_s

    def holders(self) -> Iterator[tuple[str, str]]:
        """Camera and worker, of all that may be published now."""
        for name, worker in self.workers.items():
            worker.true_s = self.now_s
            for camera, ran in worker.cameras.items():
                if ran.begun and ran.tenure.holds:
                    yield camera, name

    def _count(self, kind: str, message: object) -> None:
        self.counts[kind] += 1
        share = 1.0 if kind == "table" else min(1.0, PICKLED / max(1, len(self.workers)))
        if self._random.random() < share:
            data = pickle.dumps(message, protocol=5)
            self.sizes[kind] += round(len(data) / share)
            began_s = time.thread_time()
            if kind == "report":
                pickle.loads(data)  # noqa: S301  # our own
            else:
                pickle.dumps(message, protocol=5)
            self.cpu_s[f"pickling, {kind}"] += (time.thread_time() - began_s) / share

    def _beat(self, worker: PlayedWorker, snapshots_at_s: float | None) -> None:
        if worker.stopped:
            return
        worker.true_s = self.now_s
        due = snapshots_at_s is None or self.now_s - snapshots_at_s >= SNAPSHOT_EVERY_S
        report, sent_at_s = worker.report(snapshots=due)
        taken_s = self.now_s if due or snapshots_at_s is None else snapshots_at_s
        self._count("report", report)
        self.at(self.now_s + WAY_S, lambda: self._arrives(worker, report, sent_at_s, taken_s))

    def _arrives(self, worker: PlayedWorker, report: Report, sent_at_s: float, taken_s: float) -> None:
        if worker.stopped:
            return
        with self.timed("reports"):
            self.book.report(report, self.now_s)
        self._advance()
        self._waiting[worker.name] = (report, taken_s)
        if not self._answer(worker.name):
            self.at(self.now_s + HOLD_S, lambda: self._answer(worker.name, report))

    def _answer(self, name: str, at_last: Report | None = None) -> bool:
        """Answer a worker that waits; where there is nothing to say, only `at_last`, the report of long ago."""
        waiting = self._waiting.get(name)
        if waiting is None or (at_last is not None and waiting[0] is not at_last):
            return False
        report, taken_s = waiting
        with self.timed("orders"):
            orders = self.book.orders(name) if self.book.knows(name) else Orders(self.lease_s, {})
            news = has_news(orders, report)
        if not news and at_last is None:
            return False
        del self._waiting[name]
        self._count("orders", orders)
        worker = self.workers[name]
        self.at(self.now_s + WAY_S, lambda: self._obey(worker, orders, report, taken_s))
        return True

    def _obey(self, worker: PlayedWorker, orders: Orders, report: Report, taken_s: float) -> None:
        if worker.stopped:
            return
        worker.true_s = self.now_s
        before = {camera for camera, ran in worker.cameras.items() if ran.begun and ran.tenure.holds}
        worker.obey(orders, self.now_s - 2 * WAY_S - (0 if has_news(orders, report) else HOLD_S))
        for camera, ran in worker.cameras.items():
            if ran.begun and ran.tenure.holds and camera not in before:
                self.published_s[camera] = self.now_s
        self.at(self.now_s + LEAST_S, lambda: self._beat(worker, taken_s))

    def _advance(self) -> None:
        with self.timed("tick"):
            self.book.tick(self.now_s)
            changed = self.book.changed()
        for name in changed & self._waiting.keys():
            self._answer(name)

    def _tick(self) -> None:
        self._advance()
        version, told_s = self._told
        if self.book.version != version or self.now_s - told_s >= WAIT_S:
            self._told = (self.book.version, self.now_s)
            for _ in range(self._gateways):
                with self.timed("tables"):
                    table = self.book.table()
                self._count("table", table)
        self.at(self.now_s + TICK_S, self._tick)
