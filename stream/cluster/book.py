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
from dataclasses import dataclass
from heapq import heappop, heappush

from stream.cluster.cameras import Cameras
from stream.cluster.leases import Lease, Leases
from stream.cluster.messages import Held, Orders, Owner, Released, Report, Settings, Table, WorkerState
from stream.cluster.placement import Loads, Place, best_moves
from stream.cluster.records import Storage
from stream.cluster.surplus import surplus

MARGIN = 1.1
"""Clocks of two machines do not differ so much in how fast they go."""
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
AWAKE_S = 5.0
"""One who was stopped itself takes nobody for lost until workers could be heard; but only so often."""
LOOK_S = 1.0
"""So often each worker is looked at, and for cameras that had better be elsewhere. Less than a lease."""
LEAST_S = 0.1
"""No sooner is looked for the next moves when one is done, and for places when some were given."""


@dataclass(slots=True)
class _Worker:
    """`until_s`: what it had when it reported last is its own up to then. `draining`: somebody asked for that; `spare`:
    there are more workers than are wanted.
    """

    report: Report
    seen_s: float
    came_s: float
    until_s: float
    draining: bool = False
    spare: bool = False

    @property
    def leaves(self) -> bool:
        """Whether all of its cameras go elsewhere."""
        return self.draining or self.spare


@dataclass(slots=True)
class _Counts:
    version: int = 0
    failovers: int = 0
    moves: int = 0
    conflicts: int = 0


class Book:
    """All times are seconds of one clock that never goes back."""

    def __init__(self, storage: Storage, lease_s: float, now_s: float) -> None:
        self.lease_s = lease_s
        self._lasts_s = MARGIN * lease_s
        self._cameras = Cameras(storage)
        self._free = dict.fromkeys(self._cameras)
        self._heirs: dict[str, str] = {}
        self._leases = Leases()
        self._workers: dict[str, _Worker] = {}
        self._due: list[tuple[float, str]] = []
        self._dead: deque[str] = deque(maxlen=1000)
        self._counts = _Counts()
        self._opens_s, self._looks_s, self._places_s = now_s + self._lasts_s, now_s, now_s
        self._ticked_s, self._rests_s = now_s, now_s - AWAKE_S

    @property
    def version(self) -> int:
        """Another one whenever an owner is another one."""
        return self._counts.version

    def __contains__(self, camera: object) -> bool:
        """Whether there is such a camera."""
        return camera in self._cameras

    def __len__(self) -> int:
        """How many cameras there are."""
        return len(self._cameras)

    def knows(self, worker: str) -> bool:
        """Whether a worker has reported, and not long ago."""
        return worker in self._workers

    def cameras(self) -> dict[str, Settings]:
        """Which cameras there are, with their settings."""
        return {
            name: settings for name in self._cameras if (settings := self._cameras.settings(name)) is not None
        }

    def put(self, camera: str, settings: Settings, *, trusted: bool = True) -> bool:
        """Let there be a camera with these settings; whether anything changed. One that was trusted is so with the same
        URL. Raises OSError, and nothing has changed.
        """
        is_new = camera not in self._cameras
        if not self._cameras.put(camera, settings, trusted=trusted):
            return False
        self._leases.touch(camera)
        if is_new:
            self._counts.version += 1
            if camera not in self._leases:
                self._free[camera] = None
        return True

    def remove(self, camera: str) -> None:
        """Let there be no such camera. Raises KeyError, OSError."""
        self._cameras.remove(camera)
        self._leases.touch(camera)
        self._free.pop(camera, None)
        self._heirs.pop(camera, None)
        self._counts.version += 1
        if camera not in self._leases:
            self._cameras.forget(camera)

    def drain(self, worker: str) -> None:
        """Let all cameras of a worker go elsewhere. Raises KeyError."""
        self._workers[worker].draining = True
        self._leases.note(worker)
        self._looks_s = 0.0

    def want(self, workers: int, settled_s: float, now_s: float) -> None:
        """Let workers that are more than so many be emptied, as far as others have room for their cameras; take that
        back where they are wanted. There are not too many while a camera is nowhere, or a worker came less than
        `settled_s` ago.
        """
        there = {name: each for name, each in self._workers.items() if now_s - each.seen_s < SILENT_S}
        missing = workers - sum(not each.leaves for each in there.values())
        for worker in sorted((each for each in there.values() if each.spare), key=lambda each: each.came_s):
            if missing > 0:
                worker.spare, missing = False, missing - (not worker.draining)
        newest_s = max((each.came_s for each in there.values()), default=now_s)
        if missing >= 0 or self._free or now_s < max(self._rests_s, self._opens_s, newest_s + settled_s):
            return
        nodes: dict[str, list[Place]] = {}
        for place in self._places(now_s):
            nodes.setdefault(there[place.worker].report.node, []).append(place)
        for name in surplus(nodes, workers):
            there[name].spare, self._looks_s = True, 0.0

    @property
    def drained(self) -> int:
        """How many workers are there that somebody drains: they are of no use to cameras any more."""
        return sum(worker.draining and not worker.spare for worker in self._workers.values())

    def spares(self) -> list[str]:
        """The workers that are more than are wanted and have nothing left: they can be ended."""
        leases = self._leases
        return [
            name
            for name, worker in self._workers.items()
            if worker.spare and not leases.of(name) and not leases.inherited_by(name)
        ]

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
        self._workers[report.worker].draining |= report.draining  # as a book before this was asked
        for camera, lease in self._leases.of(report.worker).items():
            if lease.heir is not None:
                self._leases.will(camera, lease, None)
        for camera, held in report.holding.items():
            self._heard(report.worker, camera, held, now_s)
        for camera, released in report.released.items():
            self._let_go(report.worker, camera, released)

    def orders(self, worker: str) -> Orders:
        """What a worker is to hold, by the last report of it."""
        report, cameras = self._workers[worker].report, self._cameras
        hold, prepare, begin = {}, {}, []
        for camera, lease in self._leases.of(worker).items():
            record = cameras.record(camera)
            if lease.leaving_for is not None or record is None or record.settings is None:
                continue
            hold[camera] = lease.epoch
            held = report.holding.get(camera)
            if held is None or held.epoch != lease.epoch:
                begin.append(cameras.assignment(camera))
            elif held.revision != record.revision:
                begin.append(cameras.change(camera))
        for camera, lease in self._leases.inherited_by(worker).items():
            if camera in cameras:
                prepare[camera] = lease.epoch + 1
                if report.prepared.get(camera) != lease.epoch + 1:
                    begin.append(cameras.assignment(camera, ahead=True))
        return Orders(self.lease_s, hold, tuple(begin), prepare, self._workers[worker].draining)

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
        if now_s - self._ticked_s >= SILENT_S and now_s >= self._rests_s + AWAKE_S:
            self._rests_s = now_s + SILENT_S  # it was not the workers who said nothing
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
        if self._free and self._workers and now_s >= self._places_s:
            self._place(self.unassigned(), now_s)

    def unassigned(self) -> list[str]:
        """The cameras that nobody has."""
        return list(self._free)

    def table(self, problems: Iterable[str] = (), pid: int = 0) -> Table:
        """Where everything is. `problems`, `pid`: what the controller's process has to say beside."""
        owners = {camera: self._owner(camera) for camera in self._cameras}
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
        return Owner(
            lease.worker,
            report.address,
            lease.epoch,
            held is not None and held.up,
            self._cameras.can_go_on(camera),
        )

    def _state(self, worker: _Worker) -> WorkerState:
        report = worker.report
        cameras = self._held_by(report.worker)
        return WorkerState(
            *(report.worker, report.address, report.node, len(cameras), sum(cameras.values())),
            *(report.capacity_wps, report.busy, worker.leaves, report.pid),
        )

    def _heard(self, worker: str, camera: str, held: Held, now_s: float) -> None:
        record, lease = self._cameras.record(camera), self._leases.get(camera)
        if record is None or held.epoch != record.epoch:
            self._counts.conflicts += record is not None
            return
        if lease is None and record.settings is not None and not self._cameras.was_let_go(camera):
            self._give(
                camera, Lease(worker, held.epoch, now_s + self._lasts_s, now_s)
            )  # again: nobody else was since
            lease = self._leases[camera]
        if lease is not None and lease.worker == worker:
            self._cameras.heard(camera, held)

    def _let_go(self, worker: str, camera: str, released: Released) -> None:
        """Also where its lease was over here already, or was of a book before this: nobody else has had it since."""
        lease, record = self._leases.get(camera), self._cameras.record(camera)
        if record is None or record.epoch != released.epoch or (lease is not None and lease.worker != worker):
            return
        self._cameras.keep(camera, released.snapshot, exact=True)
        if lease is not None:
            self._end(camera, failed=False)

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
        if camera not in self._cameras:
            self._cameras.forget(camera)
            return
        if lease.leaving_for is not None:
            self._looks_s = self._ticked_s + LEAST_S
        self._free[camera] = None
        if heir is not None:
            self._heirs[camera] = heir
        if failed:
            self._counts.failovers += 1
        else:
            self._counts.moves += lease.leaving_for is not None

    def _place(self, cameras: list[str], now_s: float) -> None:
        """Give cameras to who is ready for them, or has the most room."""
        loads = Loads(self._places(now_s))
        for camera in cameras:
            demand_wps = self._cameras.demand_of(camera)
            heir = self._heirs.get(camera, "")
            target = heir if loads.takes(heir) else loads.best(demand_wps)
            if target is None:
                break
            epoch = self._cameras.begin_epoch(camera)
            self._give(camera, Lease(target, epoch, now_s + self._lasts_s, now_s))
            loads.add(target, demand_wps)
            self._places_s = now_s + LEAST_S

    def _give(self, camera: str, lease: Lease) -> None:
        self._leases.give(camera, lease)
        self._free.pop(camera, None)
        self._heirs.pop(camera, None)
        self._counts.version += 1

    def _held_by(self, worker: str) -> dict[str, float]:
        return {name: self._cameras.demand_of(name) for name in self._leases.of(worker)}

    def _places(self, now_s: float) -> list[Place]:
        """Those who take cameras, with what they have and what they would go on with."""
        places = []
        for name, worker in self._workers.items():
            if now_s - worker.seen_s < SILENT_S:
                cameras = self._held_by(name)
                cameras |= {each: self._cameras.demand_of(each) for each in self._leases.inherited_by(name)}
                places.append(Place(name, worker.report.capacity_wps, cameras, worker.leaves))
        return places

    def _move(self, now_s: float) -> None:
        """Ask for cameras that had better be elsewhere; they go there when their workers have let go of them."""
        places = self._places(now_s)
        newest_s = max((self._workers[place.worker].came_s for place in places), default=now_s)
        for move in best_moves(places, MOST_MOVES - self._leases.leaving):
            lease = self._leases.get(move.camera)
            if lease is None or lease.worker != move.source or lease.leaving_for is not None:
                continue
            leaves = self._workers[lease.worker].leaves
            if leaves or now_s - max(lease.began_s, newest_s) > SETTLED_S:
                self._leases.leave(move.camera, move.target)
