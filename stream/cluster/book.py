"""Who holds which camera: all that a cluster decides, without Ray, without a clock of its own.

Owns leases and epochs. A camera's lease is renewed by each report of its worker and lasts, for the worker, `lease_s`
from when it sent that report; here, that long and a margin from when the report came. So whoever gets the camera next
gets it when nobody else may publish it any more, whatever the network does (Gray and Cheriton, "Leases", SOSP 1989).
The epoch is written down before it is given. A book that is opened anew knows no lease, and gives none until all that
were there before are over; who still has one, goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from stream.cluster.messages import (
    Assignment,
    Held,
    Orders,
    Owner,
    Released,
    Report,
    Settings,
    Snapshot,
    Table,
    WorkerState,
)
from stream.cluster.placement import Place, best_moves, best_place
from stream.cluster.records import BLOCK, Record, Storage

MARGIN = 1.1
"""Clocks of two machines do not differ so much in how fast they go."""
SKIPPED_IDS = 10_000
"""More than a camera was given between its last snapshot and the end of its lease."""
MOST_MOVES = 4
"""At the same time, of all cameras."""
SETTLED_S = 20.0
"""A camera that moved stays so long, and nothing moves for so long after a worker came: until it is measured."""
FORGOTTEN_S = 60.0
"""A worker that says nothing for so long is taken off the list."""
ASSUMED_DEMAND_WPS = 25.0


@dataclass(slots=True)
class _Lease:
    worker: str
    epoch: int
    until_s: float
    began_s: float
    leaving_for: str | None = None


@dataclass(slots=True)
class _Worker:
    report: Report
    seen_s: float
    came_s: float
    draining: bool = False


@dataclass(slots=True)
class _Known:
    """What a camera's tracker was like. `exact`: at its very end, so that no id was given after it."""

    snapshot: Snapshot
    exact: bool = False


@dataclass(slots=True)
class _Counts:
    version: int = 0
    failovers: int = 0
    moves: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class _Cameras:
    records: dict[str, Record]
    leases: dict[str, _Lease] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)
    demand_wps: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class Book:
    """All times are seconds of one clock that never goes back."""

    def __init__(self, storage: Storage, lease_s: float, now_s: float) -> None:
        self.lease_s = lease_s
        self._storage = storage
        self._cameras = _Cameras(dict(storage.read()))
        self._workers: dict[str, _Worker] = {}
        self._dead: deque[str] = deque(maxlen=1000)
        self._counts = _Counts()
        self._opens_s = now_s + MARGIN * lease_s

    @property
    def version(self) -> int:
        """Another one whenever an owner is another one."""
        return self._counts.version

    def knows(self, worker: str) -> bool:
        """Whether a worker has reported, and not long ago."""
        return worker in self._workers

    def cameras(self) -> dict[str, Settings]:
        """Which cameras there are, with their settings."""
        records = self._cameras.records
        return {name: each.settings for name, each in records.items() if each.settings is not None}

    def put(self, camera: str, settings: Settings, *, trusted: bool = True) -> bool:
        """Let there be a camera with these settings; whether anything changed. One that was trusted is so with the same
        URL. Raises OSError, and nothing has changed.
        """
        before = self._cameras.records.get(camera, Record(None))
        same_url = before.settings is not None and before.settings["url"] == settings["url"]
        trusted = trusted or (same_url and before.trusted)
        if before.settings == settings and before.trusted == trusted:
            return False
        self._write(camera, replace(before, settings=settings, trusted=trusted, revision=before.revision + 1))
        if before.settings is None:
            self._counts.version += 1
        return True

    def remove(self, camera: str) -> None:
        """Let there be no such camera. Raises KeyError, OSError."""
        record = self._cameras.records[camera]
        if record.settings is None:
            raise KeyError(camera)
        self._write(camera, replace(record, settings=None, revision=record.revision + 1))
        self._counts.version += 1

    def drain(self, worker: str) -> None:
        """Let all cameras of a worker go elsewhere. Raises KeyError."""
        self._workers[worker].draining = True

    def report(self, report: Report, now_s: float) -> None:
        """A worker says how it is: what it has is its own for a while longer. Raises OSError, and that holds."""
        worker = self._workers.get(report.worker)
        if report.worker in self._dead:  # it was on its way
            return
        if worker is None:
            self._workers[report.worker] = _Worker(report, now_s, now_s)
        else:
            worker.report, worker.seen_s = report, now_s
        # First of all: whatever cannot be written down below, orders that answer this report renew them there.
        for lease in self._cameras.leases.values():
            if lease.worker == report.worker and not self._over(lease, now_s):
                lease.until_s = now_s + MARGIN * self.lease_s
        for camera, held in report.holding.items():
            self._heard(report.worker, camera, held, now_s)
        for camera, released in report.released.items():
            self._let_go(report.worker, camera, released)

    def orders(self, worker: str) -> Orders:
        """What a worker is to hold, by the last report of it."""
        holding = self._workers[worker].report.holding
        hold, begin = {}, []
        for camera, lease in self._cameras.leases.items():
            record = self._cameras.records[camera]
            if lease.worker != worker or lease.leaving_for is not None or record.settings is None:
                continue
            hold[camera] = lease.epoch
            held = holding.get(camera)
            if held is None or held.epoch != lease.epoch:
                begin.append(self._assignment(camera, record.settings, record, anew=True))
            elif held.revision != record.revision:
                begin.append(self._assignment(camera, record.settings, record, anew=False))
        return Orders(self.lease_s, hold, tuple(begin))

    def died(self, worker: str) -> None:
        """A worker's process is gone for certain: nobody has to wait for its leases."""
        self._workers.pop(worker, None)
        self._dead.append(worker)
        for camera in [name for name, lease in self._cameras.leases.items() if lease.worker == worker]:
            self._end(camera, failed=True)

    def tick(self, now_s: float) -> None:
        """End what is over, and give every camera that nobody has to somebody. Raises OSError, and what could not be
        written down was not given.
        """
        self._expire(now_s)
        if now_s < self._opens_s:
            return
        self._move(now_s)
        for camera in self.unassigned():
            target = best_place(self._demand_wps(camera), self._places(now_s))
            if target is None:
                break
            self._grant(camera, target, now_s)

    def unassigned(self) -> list[str]:
        """The cameras that nobody has."""
        return [name for name in self.cameras() if name not in self._cameras.leases]

    def table(self, problems: Iterable[str] = (), pid: int = 0) -> Table:
        """Where everything is. `problems`, `pid`: what the controller's process has to say beside."""
        owners = {camera: self._owner(camera) for camera in self.cameras()}
        states = tuple(self._state(worker) for worker in self._workers.values())
        errors = tuple(f"camera {name}: {text}" for name, text in self._cameras.errors.items())
        counts = self._counts
        return Table(
            *(counts.version, owners, states, counts.failovers, counts.moves, counts.conflicts),
            *((*problems, *errors), pid),
        )

    def _owner(self, camera: str) -> Owner | None:
        lease = self._cameras.leases.get(camera)
        if lease is None or lease.worker not in self._workers:
            return None
        report = self._workers[lease.worker].report
        held = report.holding.get(camera)
        known = self._cameras.known.get(camera)
        can_go_on = known is not None and known.snapshot.data is not None
        return Owner(lease.worker, report.address, lease.epoch, held is not None and held.up, can_go_on)

    def _state(self, worker: _Worker) -> WorkerState:
        report = worker.report
        cameras = self._held_by(report.worker)
        return WorkerState(
            *(report.worker, report.address, report.node, len(cameras), sum(cameras.values())),
            *(report.capacity_wps, report.busy, worker.draining, report.pid),
        )

    def _write(self, camera: str, record: Record) -> None:
        self._storage.write(camera, record)
        self._cameras.records[camera] = record

    def _heard(self, worker: str, camera: str, held: Held, now_s: float) -> None:
        record, lease = self._cameras.records.get(camera), self._cameras.leases.get(camera)
        if record is None or held.epoch != record.epoch:
            self._counts.conflicts += record is not None
            return
        if lease is None and now_s < self._opens_s:  # given before this book was opened
            self._cameras.leases[camera] = lease = _Lease(worker, held.epoch, 0.0, now_s)
            lease.until_s = now_s + MARGIN * self.lease_s
            self._counts.version += 1
        if lease is None or lease.worker != worker:
            return
        if held.demand_wps is not None:
            self._cameras.demand_wps[camera] = held.demand_wps
        self._cameras.errors.pop(camera, None)
        if held.error is not None:
            self._cameras.errors[camera] = held.error
        if held.snapshot is not None:
            self._keep(camera, _Known(held.snapshot))

    def _let_go(self, worker: str, camera: str, released: Released) -> None:
        """Also where its lease was over here already, or was of a book before this: nobody else has had it since."""
        lease, record = self._cameras.leases.get(camera), self._cameras.records.get(camera)
        if record is None or record.epoch != released.epoch or (lease is not None and lease.worker != worker):
            return
        self._keep(camera, _Known(released.snapshot, exact=True))
        if lease is not None:
            self._end(camera, failed=False)

    def _keep(self, camera: str, known: _Known) -> None:
        """A tracker without a state (one that has answered nothing yet) takes nothing of the one before away."""
        before = self._cameras.known.get(camera)
        if known.snapshot.data is None and before is not None:
            data, exact = before.snapshot.data, known.exact
            known = _Known(Snapshot(max(before.snapshot.next_id, known.snapshot.next_id), data), exact)
        self._cameras.known[camera] = known
        record = self._cameras.records[camera]
        if known.snapshot.next_id + BLOCK // 2 > record.id_bound:
            self._write(camera, replace(record, id_bound=known.snapshot.next_id + BLOCK))

    def _over(self, lease: _Lease, now_s: float) -> bool:
        return now_s >= lease.until_s

    def _expire(self, now_s: float) -> None:
        for camera in [name for name, lease in self._cameras.leases.items() if self._over(lease, now_s)]:
            self._end(camera, failed=True)
        for name in [name for name, each in self._workers.items() if now_s - each.seen_s > FORGOTTEN_S]:
            del self._workers[name]

    def _end(self, camera: str, *, failed: bool) -> None:
        lease = self._cameras.leases.pop(camera)
        removed = self._cameras.records[camera].settings is None
        self._counts.version += 1
        if removed:
            self._cameras.errors.pop(camera, None)
            self._cameras.demand_wps.pop(camera, None)
        elif failed:
            self._counts.failovers += 1
        else:
            self._counts.moves += lease.leaving_for is not None

    def _grant(self, camera: str, worker: str, now_s: float) -> None:
        record = self._cameras.records[camera]
        known = self._cameras.known.get(camera)
        if known is None:
            first_id, data = record.id_bound, None
        else:
            first_id = known.snapshot.next_id + (0 if known.exact else SKIPPED_IDS)
            data = known.snapshot.data
        bound = max(record.id_bound, first_id + BLOCK)
        self._write(camera, replace(record, epoch=record.epoch + 1, id_bound=bound))
        self._cameras.known[camera] = _Known(Snapshot(first_id, data))
        until_s = now_s + MARGIN * self.lease_s
        self._cameras.leases[camera] = _Lease(worker, record.epoch + 1, until_s, now_s)
        self._counts.version += 1

    def _assignment(self, camera: str, settings: Settings, record: Record, *, anew: bool) -> Assignment:
        lease, known = self._cameras.leases[camera], self._cameras.known.get(camera)
        if not anew or known is None:
            return Assignment(camera, lease.epoch, record.revision, settings, record.trusted)
        first_id, data = known.snapshot.next_id, known.snapshot.data
        return Assignment(camera, lease.epoch, record.revision, settings, record.trusted, first_id, data)

    def _demand_wps(self, camera: str) -> float:
        return self._cameras.demand_wps.get(camera, ASSUMED_DEMAND_WPS)

    def _held_by(self, worker: str) -> dict[str, float]:
        leases = self._cameras.leases.items()
        return {name: self._demand_wps(name) for name, lease in leases if lease.worker == worker}

    def _places(self, now_s: float) -> list[Place]:
        alive = [each for each in self._workers.values() if now_s - each.seen_s < self.lease_s]
        return [
            Place(w.report.worker, w.report.capacity_wps, self._held_by(w.report.worker), w.draining)
            for w in alive
        ]

    def _move(self, now_s: float) -> None:
        """Ask for cameras that had better be elsewhere; they go there when their workers have let go of them."""
        leases = self._cameras.leases
        under_way = sum(lease.leaving_for is not None for lease in leases.values())
        places = self._places(now_s)
        for move in best_moves(places, MOST_MOVES - under_way):
            lease = leases[move.camera]
            drains = self._workers[lease.worker].draining
            newest_s = max(self._workers[place.worker].came_s for place in places)
            if lease.leaving_for is None and (drains or now_s - max(lease.began_s, newest_s) > SETTLED_S):
                lease.leaving_for = move.target
