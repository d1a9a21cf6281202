"""Who holds which camera: all that a cluster decides, without Ray, without a clock of its own.

Owns leases and epochs. A camera's lease is renewed by each report of its worker and lasts, for the worker, `lease_s`
from when it sent that report; here, that long and a margin from when the report came. So whoever gets the camera next
gets it when nobody else may publish it any more, whatever the network does (Gray and Cheriton, "Leases", SOSP 1989).
The epoch is written down before it is given. Who had the last one gets it back, as long as nobody was given another:
so a book that is opened anew gives nothing until all leases that were there before are over, and who has one goes on.

What it does takes time by what changed: a report that of its worker's cameras, a tick that of what is over or free.
Beside it, each worker is looked at once in `LOOK_S`, and all where something is to be placed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from stream.cluster.leases import Lease, Leases
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
from stream.cluster.placement import Loads, Place, best_moves
from stream.cluster.records import BLOCK, Record, Storage

MARGIN = 1.1
"""Clocks of two machines do not differ so much in how fast they go."""
SKIPPED_IDS = 10_000
"""More than a camera was given between its last snapshot and the end of its lease."""
MOST_MOVES = 4
"""At the same time, of all cameras."""
SETTLED_S = 20.0
"""A camera that moved stays so long, and nothing moves for so long after a worker came: until it is measured."""
SILENT_S = 1.0
"""A worker that says nothing for so long, twice of what it should, is given nothing, and others get ready to go on with
its cameras.
"""
FORGOTTEN_S = 60.0
"""A worker that has no camera and says nothing for so long is taken off the list."""
LOOK_S = 1.0
"""So often each worker is looked at, and for cameras that had better be elsewhere. Less than a lease."""
ASSUMED_DEMAND_WPS = 25.0


@dataclass(slots=True)
class _Worker:
    """`until_s`: what it had when it reported last is its own up to then."""

    report: Report
    seen_s: float
    came_s: float
    until_s: float
    draining: bool = False


@dataclass(slots=True)
class _Known:
    """What a camera's tracker was like. `exact`: at its very end, so that no id was given after it."""

    snapshot: Snapshot
    exact: bool = False


@dataclass(slots=True)
class _Counts:
    cameras: int = 0
    version: int = 0
    failovers: int = 0
    moves: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class _Cameras:
    """`free`: those that nobody has, in the order in which they became so; `heirs`: who is ready to go on with them."""

    records: dict[str, Record]
    known: dict[str, _Known] = field(default_factory=dict)
    demand_wps: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    free: dict[str, None] = field(default_factory=dict)
    heirs: dict[str, str] = field(default_factory=dict)

    def settings(self, camera: str) -> Settings | None:
        """None where there is no such camera."""
        record = self.records.get(camera)
        return None if record is None else record.settings

    def demand_of(self, camera: str) -> float:
        """Windows a second that it asks for, as far as that is known."""
        return self.demand_wps.get(camera, ASSUMED_DEMAND_WPS)


class Book:
    """All times are seconds of one clock that never goes back."""

    def __init__(self, storage: Storage, lease_s: float, now_s: float) -> None:
        self.lease_s = lease_s
        self._lasts_s = MARGIN * lease_s
        self._storage = storage
        self._cameras = cameras = _Cameras(dict(storage.read()))
        self._leases = Leases()
        self._workers: dict[str, _Worker] = {}
        self._due: list[tuple[float, str]] = []
        self._dead: deque[str] = deque(maxlen=1000)
        self._counts = _Counts()
        self._opens_s, self._looks_s = now_s + self._lasts_s, now_s
        self._ticked_s = self._rests_s = now_s
        for camera, record in cameras.records.items():
            if record.settings is not None:
                self._counts.cameras += 1
                cameras.free[camera] = None

    @property
    def version(self) -> int:
        """Another one whenever an owner is another one."""
        return self._counts.version

    def __contains__(self, camera: object) -> bool:
        """Whether there is such a camera."""
        return isinstance(camera, str) and self._cameras.settings(camera) is not None

    def __len__(self) -> int:
        """How many cameras there are."""
        return self._counts.cameras

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
        self._leases.touch(camera)
        if before.settings is None:
            self._counts.version += 1
            if camera not in self._leases:
                self._cameras.free[camera] = None
        return True

    def remove(self, camera: str) -> None:
        """Let there be no such camera. Raises KeyError, OSError."""
        record = self._cameras.records[camera]
        if record.settings is None:
            raise KeyError(camera)
        self._write(camera, replace(record, settings=None, revision=record.revision + 1))
        self._leases.touch(camera)
        self._cameras.free.pop(camera, None)
        self._counts.version += 1
        if camera not in self._leases:
            self._forget(camera)

    def drain(self, worker: str) -> None:
        """Let all cameras of a worker go elsewhere. Raises KeyError."""
        self._workers[worker].draining = True
        self._looks_s = 0.0

    def report(self, report: Report, now_s: float) -> None:
        """A worker says how it is: what it has is its own for a while longer. Raises OSError, and that holds."""
        if report.worker in self._dead:  # it was on its way
            return
        worker = self._workers.get(report.worker)
        until_s = now_s + self._lasts_s
        if worker is None:
            self._workers[report.worker] = _Worker(report, now_s, now_s, until_s)
            heappush(self._due, (now_s + SILENT_S, report.worker))
        else:
            self._expire(report.worker, now_s)
            # Before all else: whatever cannot be written down below, orders that answer this report renew them there.
            worker.report, worker.seen_s, worker.until_s = report, now_s, until_s
        for camera, lease in self._leases.of(report.worker).items():
            if lease.heir is not None:
                self._leases.will(camera, lease, None)
        for camera, held in report.holding.items():
            self._heard(report.worker, camera, held, now_s)
        for camera, released in report.released.items():
            self._let_go(report.worker, camera, released)

    def orders(self, worker: str) -> Orders:
        """What a worker is to hold, by the last report of it."""
        report, records = self._workers[worker].report, self._cameras.records
        hold, prepare, begin = {}, {}, []
        for camera, lease in self._leases.of(worker).items():
            record = records[camera]
            if lease.leaving_for is not None or record.settings is None:
                continue
            hold[camera] = lease.epoch
            held = report.holding.get(camera)
            if held is None or held.epoch != lease.epoch:
                begin.append(self._assignment(camera, record.settings, lease.epoch))
            elif held.revision != record.revision:
                begin.append(
                    Assignment(camera, lease.epoch, record.revision, record.settings, record.trusted)
                )
        for camera in self._leases.inherited_by(worker):
            record = records[camera]
            if record.settings is not None:
                prepare[camera] = record.epoch + 1
                if report.prepared.get(camera) != record.epoch + 1:
                    begin.append(self._assignment(camera, record.settings, record.epoch + 1))
        return Orders(self.lease_s, hold, tuple(begin), prepare)

    def changed(self) -> set[str]:
        """The workers whose orders may be others than when this was asked last."""
        return self._leases.changed()

    def died(self, worker: str) -> None:
        """A worker's process is gone for certain: nobody has to wait for its leases."""
        self._dead.append(worker)
        for camera in tuple(self._leases.of(worker)):
            self._end(camera, failed=True)
        self._gone(worker)

    def tick(self, now_s: float) -> None:
        """End what is over, and give every camera that nobody has to somebody. Raises OSError, and what could not be
        written down was not given.
        """
        if now_s - self._ticked_s >= SILENT_S:  # it was not the workers who said nothing
            self._rests_s = now_s + SILENT_S
        self._ticked_s = now_s
        while self._due and self._due[0][0] <= now_s:
            _, worker = heappop(self._due)
            if worker in self._workers:
                self._look_at(worker, now_s)
        if now_s < max(self._rests_s, self._opens_s):
            return
        if now_s >= self._looks_s:
            self._looks_s = now_s + LOOK_S
            self._move(now_s)
        if self._cameras.free and self._workers:
            self._place(self.unassigned(), now_s)

    def unassigned(self) -> list[str]:
        """The cameras that nobody has."""
        return list(self._cameras.free)

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
        lease = self._leases.get(camera)
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
        before = self._cameras.settings(camera)
        self._cameras.records[camera] = record
        self._counts.cameras += (record.settings is not None) - (before is not None)

    def _heard(self, worker: str, camera: str, held: Held, now_s: float) -> None:
        record, lease = self._cameras.records.get(camera), self._leases.get(camera)
        if record is None or held.epoch != record.epoch:
            self._counts.conflicts += record is not None
            return
        known = self._cameras.known.get(camera)
        if lease is None and record.settings is not None and not (known and known.exact):
            # Nobody else was given it since this worker was, and it has not said that it let go.
            self._give(camera, Lease(worker, held.epoch, now_s + self._lasts_s, now_s))
            lease = self._leases[camera]
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
        lease, record = self._leases.get(camera), self._cameras.records.get(camera)
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

    def _look_at(self, worker: str, now_s: float) -> None:
        """What is due with a worker that has said nothing for a while, and when it is to be looked at again."""
        self._expire(worker, now_s)
        state, held = self._workers[worker], self._leases.of(worker)
        if not held and now_s - state.seen_s >= FORGOTTEN_S:
            self._gone(worker)
            return
        if now_s - state.seen_s >= SILENT_S and now_s >= self._rests_s:
            self._prepare(worker, now_s)
        times = (now_s + LOOK_S, state.seen_s + SILENT_S, *map(self._over_s, held.values()))
        heappush(self._due, (min(each for each in times if each > now_s), worker))

    def _over_s(self, lease: Lease) -> float:
        return max(lease.until_s, self._workers[lease.worker].until_s)

    def _expire(self, worker: str, now_s: float) -> None:
        for camera in [
            name for name, lease in self._leases.of(worker).items() if now_s >= self._over_s(lease)
        ]:
            self._end(camera, failed=True)

    def _gone(self, worker: str) -> None:
        self._workers.pop(worker, None)
        self._leases.note(worker)
        for camera, lease in tuple(self._leases.inherited_by(worker).items()):
            self._leases.will(camera, lease, None)

    def _prepare(self, worker: str, now_s: float) -> None:
        """Let others get ready for what a worker has that says nothing."""
        orphans = {name: lease for name, lease in self._leases.of(worker).items() if lease.heir is None}
        if not orphans:
            return
        loads = Loads(self._places(now_s))
        for camera, lease in orphans.items():
            demand_wps = self._cameras.demand_of(camera)
            heir = loads.best(demand_wps)
            if heir is not None:
                loads.add(heir, demand_wps)
                self._leases.will(camera, lease, heir)

    def _end(self, camera: str, *, failed: bool) -> None:
        heir = self._leases[camera].heir
        lease = self._leases.end(camera)
        self._counts.version += 1
        if self._cameras.settings(camera) is None:
            self._forget(camera)
            return
        if lease.leaving_for is not None:
            self._looks_s = 0.0
        self._cameras.free[camera] = None
        if heir is not None:
            self._cameras.heirs[camera] = heir
        if failed:
            self._counts.failovers += 1
        else:
            self._counts.moves += lease.leaving_for is not None

    def _forget(self, camera: str) -> None:
        self._cameras.errors.pop(camera, None)
        self._cameras.demand_wps.pop(camera, None)

    def _place(self, cameras: list[str], now_s: float) -> None:
        """Give cameras to who is ready for them, or has the most room."""
        loads = Loads(self._places(now_s))
        for camera in cameras:
            demand_wps = self._cameras.demand_of(camera)
            heir = self._cameras.heirs.get(camera, "")
            target = heir if loads.takes(heir) else loads.best(demand_wps)
            if target is None:
                break
            self._grant(camera, target, now_s)
            loads.add(target, demand_wps)

    def _grant(self, camera: str, worker: str, now_s: float) -> None:
        record = self._cameras.records[camera]
        first_id, data = self._onward(camera)
        bound = max(record.id_bound, first_id + BLOCK)
        self._write(camera, replace(record, epoch=record.epoch + 1, id_bound=bound))
        self._cameras.known[camera] = _Known(Snapshot(first_id, data))
        self._give(camera, Lease(worker, record.epoch + 1, now_s + self._lasts_s, now_s))

    def _give(self, camera: str, lease: Lease) -> None:
        self._leases.give(camera, lease)
        self._cameras.free.pop(camera, None)
        self._cameras.heirs.pop(camera, None)
        self._counts.version += 1

    def _onward(self, camera: str) -> tuple[int, bytes | None]:
        """The first id that whoever is next may give, and what its tracker goes on from."""
        known = self._cameras.known.get(camera)
        if known is None:
            return self._cameras.records[camera].id_bound, None
        return known.snapshot.next_id + (0 if known.exact else SKIPPED_IDS), known.snapshot.data

    def _assignment(self, camera: str, settings: Settings, epoch: int) -> Assignment:
        record, known = self._cameras.records[camera], self._cameras.known.get(camera)
        if epoch > record.epoch:
            first_id, data = self._onward(camera)
        else:
            first_id, data = (1, None) if known is None else (known.snapshot.next_id, known.snapshot.data)
        return Assignment(camera, epoch, record.revision, settings, record.trusted, first_id, data)

    def _held_by(self, worker: str) -> dict[str, float]:
        return {name: self._cameras.demand_of(name) for name in self._leases.of(worker)}

    def _places(self, now_s: float) -> list[Place]:
        """Those who take cameras, with what they have and what they would go on with."""
        places = []
        for name, worker in self._workers.items():
            if now_s - worker.seen_s < SILENT_S:
                cameras = self._held_by(name)
                cameras |= {each: self._cameras.demand_of(each) for each in self._leases.inherited_by(name)}
                places.append(Place(name, worker.report.capacity_wps, cameras, worker.draining))
        return places

    def _move(self, now_s: float) -> None:
        """Ask for cameras that had better be elsewhere; they go there when their workers have let go of them."""
        places = self._places(now_s)
        newest_s = max((self._workers[place.worker].came_s for place in places), default=now_s)
        for move in best_moves(places, MOST_MOVES - self._leases.leaving):
            lease = self._leases.get(move.camera)
            if lease is None or lease.worker != move.source or lease.leaving_for is not None:
                continue
            drains = self._workers[lease.worker].draining
            if drains or now_s - max(lease.began_s, newest_s) > SETTLED_S:
                self._leases.leave(move.camera, move.target)
