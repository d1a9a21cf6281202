"""Which worker has which camera, until when, and who would get it next.

Owns the leases and the ways to find them: by camera, by worker, by who would go on with it. Each change notes whose
orders are others by it. Knows no rule of when a lease is given or ended: see `stream.cluster.book`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """`until_s`: as it was given; each report of its worker makes it longer. `heir`: who gets ready to go on."""

    worker: str
    epoch: int
    until_s: float
    began_s: float
    leaving_for: str | None = None
    heir: str | None = None


class Leases:
    """Each camera has one lease at most."""

    def __init__(self) -> None:
        self._by_camera: dict[str, Lease] = {}
        self._of: dict[str, dict[str, Lease]] = defaultdict(dict)
        self._heirs: dict[str, dict[str, Lease]] = defaultdict(dict)
        self._leaving: set[str] = set()
        self._changed: set[str] = set()

    def __contains__(self, camera: str) -> bool:
        return camera in self._by_camera

    def __getitem__(self, camera: str) -> Lease:
        return self._by_camera[camera]

    def get(self, camera: str) -> Lease | None:
        """A camera's lease; None where nobody has it."""
        return self._by_camera.get(camera)

    def of(self, worker: str) -> dict[str, Lease]:
        """What a worker has, by camera. Not to be changed."""
        return self._of.get(worker, {})

    def inherited_by(self, worker: str) -> dict[str, Lease]:
        """What others have and a worker would go on with, by camera. Not to be changed."""
        return self._heirs.get(worker, {})

    @property
    def leaving(self) -> int:
        """How many cameras are asked to leave their worker."""
        return len(self._leaving)

    def give(self, camera: str, lease: Lease) -> None:
        """A camera that nobody has is a worker's."""
        self._by_camera[camera] = self._of[lease.worker][camera] = lease
        self._changed.add(lease.worker)

    def end(self, camera: str) -> Lease:
        """Nobody has it any more. Raises KeyError."""
        lease = self._by_camera.pop(camera)
        self._take(self._of, lease.worker, camera)
        self._leaving.discard(camera)
        self.will(camera, lease, None)
        return lease

    def will(self, camera: str, lease: Lease, heir: str | None) -> None:
        """Let a worker get ready for a camera, or nobody."""
        if lease.heir is not None:
            self._take(self._heirs, lease.heir, camera)
        lease.heir = heir
        if heir is not None:
            self._heirs[heir][camera] = lease
            self._changed.add(heir)

    def leave(self, camera: str, target: str) -> None:
        """Ask a camera's worker to let go of it."""
        lease = self._by_camera[camera]
        lease.leaving_for = target
        self._leaving.add(camera)
        self._changed.add(lease.worker)

    def touch(self, camera: str) -> None:
        """A camera's settings are others: so are the orders of who has it, and of who gets ready for it."""
        lease = self._by_camera.get(camera)
        if lease is not None:
            self._changed.update(filter(None, (lease.worker, lease.heir)))

    def note(self, worker: str) -> None:
        """A worker's orders are others."""
        self._changed.add(worker)

    def changed(self) -> set[str]:
        """Whose orders may be others than when this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def _take(self, index: dict[str, dict[str, Lease]], worker: str, camera: str) -> None:
        del index[worker][camera]
        if not index[worker]:
            del index[worker]
        self._changed.add(worker)
