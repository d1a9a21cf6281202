"""What a cluster knows of each of its cameras, whoever has it: what has to outlive everything, and what was said of it.

Owns the records, written down before anything is told to anybody, and what trackers go on from. Knows no lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stream.cluster.messages import Assignment, Held, Settings, Snapshot
from stream.cluster.records import BLOCK, Record, Storage

SKIPPED_IDS = 10_000
"""More than a camera was given between its last snapshot and the end of its lease."""
ASSUMED_DEMAND_WPS = 25.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What a camera's tracker was like. `exact`: at its very end, so that no id was given after it."""

    snapshot: Snapshot
    exact: bool = False


class Cameras:
    """Those that were removed are remembered by what they must not be given twice."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records = dict(storage.read())
        self._known: dict[str, _Known] = {}
        self._demand_wps: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        """Why one does not run as ordered."""
        self._count = sum(record.settings is not None for record in self._records.values())

    def __contains__(self, camera: object) -> bool:
        return isinstance(camera, str) and self.settings(camera) is not None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (camera for camera, record in self._records.items() if record.settings is not None)

    def settings(self, camera: str) -> Settings | None:
        """None where there is no such camera."""
        record = self._records.get(camera)
        return None if record is None else record.settings

    def record(self, camera: str) -> Record | None:
        """What is written down of a camera, of one that was removed too."""
        return self._records.get(camera)

    def put(self, camera: str, settings: Settings, *, trusted: bool) -> bool:
        """Let there be a camera with these settings; whether anything changed. One that was trusted is so with the same
        URL. Raises OSError, and nothing has changed.
        """
        before = self._records.get(camera, Record(None))
        same_url = before.settings is not None and before.settings["url"] == settings["url"]
        trusted = trusted or (same_url and before.trusted)
        if before.settings == settings and before.trusted == trusted:
            return False
        self._write(camera, replace(before, settings=settings, trusted=trusted, revision=before.revision + 1))
        return True

    def remove(self, camera: str) -> None:
        """Let there be no such camera. Raises KeyError, OSError."""
        record = self._records[camera]
        if record.settings is None:
            raise KeyError(camera)
        self._write(camera, replace(record, settings=None, revision=record.revision + 1))

    def forget(self, camera: str) -> None:
        """What was said of one that was removed, once nobody has it."""
        self.errors.pop(camera, None)
        self._demand_wps.pop(camera, None)

    def demand_of(self, camera: str) -> float:
        """Windows a second that it asks for, as far as that is known."""
        return self._demand_wps.get(camera, ASSUMED_DEMAND_WPS)

    def can_go_on(self, camera: str) -> bool:
        """Whether its tracker's state is known."""
        known = self._known.get(camera)
        return known is not None and known.snapshot.data is not None

    def was_let_go(self, camera: str) -> bool:
        """Whether who had it last has said that it is over."""
        known = self._known.get(camera)
        return known is not None and known.exact

    def heard(self, camera: str, held: Held) -> None:
        """What the worker that has it says. Raises OSError."""
        if held.demand_wps is not None:
            self._demand_wps[camera] = held.demand_wps
        self.errors.pop(camera, None)
        if held.error is not None:
            self.errors[camera] = held.error
        if held.snapshot is not None:
            self.keep(camera, held.snapshot)

    def keep(self, camera: str, snapshot: Snapshot, *, exact: bool = False) -> None:
        """A tracker without a state (one that has answered nothing yet) takes nothing of the one before away. Raises
        OSError.
        """
        before = self._known.get(camera)
        if snapshot.data is None and before is not None:
            snapshot = Snapshot(max(before.snapshot.next_id, snapshot.next_id), before.snapshot.data)
        self._known[camera] = _Known(snapshot, exact)
        record = self._records[camera]
        if snapshot.next_id + BLOCK // 2 > record.id_bound:
            self._write(camera, replace(record, id_bound=snapshot.next_id + BLOCK))

    def begin_epoch(self, camera: str) -> int:
        """Write down that somebody new is given a camera; the epoch. Raises OSError, and nothing has changed."""
        record = self._records[camera]
        onward = self._onward(camera)
        bound = max(record.id_bound, onward.next_id + BLOCK)
        self._write(camera, replace(record, epoch=record.epoch + 1, id_bound=bound))
        self._known[camera] = _Known(onward)
        return record.epoch + 1

    def assignment(self, camera: str, *, ahead: bool = False) -> Assignment:
        """What a worker is told that is to run a camera; `ahead`: should it be the next who is given it."""
        record, known = self._records[camera], self._known.get(camera)
        assert record.settings is not None
        now = Snapshot(1) if known is None else known.snapshot
        onward = self._onward(camera) if ahead else now
        return Assignment(
            *(camera, record.epoch + ahead, record.revision, record.settings, record.trusted),
            *(onward.next_id, onward.data),
        )

    def change(self, camera: str) -> Assignment:
        """What a worker is told that runs it with other settings."""
        record = self._records[camera]
        assert record.settings is not None
        return Assignment(camera, record.epoch, record.revision, record.settings, record.trusted)

    def _onward(self, camera: str) -> Snapshot:
        """What whoever is next goes on from, and the first id that it may give."""
        known = self._known.get(camera)
        if known is None:
            return Snapshot(self._records[camera].id_bound)
        return replace(known.snapshot, next_id=known.snapshot.next_id + (0 if known.exact else SKIPPED_IDS))

    def _write(self, camera: str, record: Record) -> None:
        self._storage.write(camera, record)
        self._count += (record.settings is not None) - (camera in self)
        self._records[camera] = record
