"""Workers of a cluster without their service, in a time of their own, for what is played or simulated: they hold,
prepare and let go as `stream.cluster.host` does. And storage that is but memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.cluster.host import KEPT_S
from stream.cluster.messages import Assignment, Held, Orders, Released, Report, Snapshot
from stream.cluster.records import Record
from stream.tenure import Tenure


class MemoryStorage:
    """What outlives a book; it can be full."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.full = False
        self.writes = 0

    def read(self) -> dict[str, Record]:
        """See `Storage`."""
        return {camera: Record.from_json(camera, data) for camera, data in self.kept.items()}

    def write(self, camera: str, record: Record) -> None:
        """See `Storage`."""
        if self.full:
            raise OSError("no space")
        self.kept[camera] = record.to_json()
        self.writes += 1


@dataclass
class Ran:
    """A camera on a worker."""

    tenure: Tenure
    next_id: int
    revision: int
    first_id: int
    begun: bool
    kept_until_s: float = 0.0


@dataclass
class PlayedWorker:
    """What `Host` does, in the true time of a test; `pace` and `began_s` are of its own clock. `capacity_wps`: what it
    can do, with cameras that ask for 25 each; `state`: a tracker's snapshot.
    """

    name: str
    pace: float = 1.0
    began_s: float = 0.0
    true_s: float = 0.0
    stopped: bool = False
    capacity_wps: float = 100.0
    state: bytes = b"state"
    node: str = "node"
    draining: bool = False
    cameras: dict[str, Ran] = field(default_factory=dict)
    released: dict[str, Released] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    def now_s(self) -> float:
        """By its clock."""
        return self.began_s + self.pace * self.true_s

    def report(self, *, snapshots: bool = True) -> tuple[Report, float]:
        """And when it was sent, by its clock."""
        for camera in [name for name, ran in self.cameras.items() if self.has_to_go(ran)]:
            ran = self.cameras.pop(camera)
            ran.tenure.end()
            if ran.begun:
                self.released[camera] = Released(ran.tenure.epoch, Snapshot(ran.next_id, self.state))
                self.ended[camera] = ran.tenure.epoch
        holding = {name: self.held(ran, snapshots) for name, ran in self.cameras.items() if ran.begun}
        prepared = {name: ran.tenure.epoch for name, ran in self.cameras.items() if not ran.begun}
        released, self.released = self.released, {}
        address = f"http://{self.name}"
        lapsed = any(ran.begun and not ran.tenure.holds for ran in self.cameras.values())
        capacity_wps = self.capacity_wps
        report = Report(
            *(self.name, address, self.node, holding, released, capacity_wps, 0.5, 1, prepared, lapsed),
            draining=self.draining,
        )
        return report, self.now_s()

    def held(self, ran: Ran, snapshots: bool) -> Held:
        """A camera as it says that it is."""
        snapshot = Snapshot(ran.next_id, self.state) if snapshots else None
        return Held(ran.tenure.epoch, ran.revision, 25.0, True, snapshot)

    def has_to_go(self, ran: Ran) -> bool:
        """Whether it has to be let go of."""
        return ran.tenure.ended or self.now_s() >= ran.kept_until_s

    def obey(self, orders: Orders, sent_at_s: float) -> None:
        """What answers the report that was sent then, by its clock."""
        self.draining |= orders.draining
        until_s = sent_at_s + orders.lease_s
        for each in orders.begin:
            self.begin(each, orders.hold.get(each.camera) == each.epoch)
        for camera, ran in self.cameras.items():
            if orders.hold.get(camera) == ran.tenure.epoch and ran.begun:
                ran.tenure.renew(until_s)
            elif orders.prepare.get(camera) != ran.tenure.epoch or ran.begun:
                ran.tenure.end()
            ran.kept_until_s = until_s + KEPT_S

    def begin(self, each: Assignment, hold: bool) -> None:
        """Run a camera; `hold`: as its own."""
        ran = self.cameras.get(each.camera)
        if ran is None and each.epoch > self.ended.get(each.camera, 0):
            tenure = Tenure(each.epoch, 0.0, self.now_s)
            self.cameras[each.camera] = Ran(tenure, each.first_id, each.revision, each.first_id, hold)
        elif ran is not None and ran.tenure.epoch == each.epoch:
            if hold and not ran.begun and ran.first_id != each.first_id:
                ran.tenure.end()
            else:
                ran.begun, ran.revision = ran.begun or hold, each.revision
