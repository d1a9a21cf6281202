"""A worker without Ray: the single machine's service, with the cameras that it is ordered to hold.

Owns each camera's tenure here, and that it is let go of when that ends: by order, or because no order came for long. A
camera may be run without being published: to be ready for it, or because it is not known whether it may be. One change
is made after another, beside the reports: they must not wait for a camera that is slow to end, nor for the engine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from stream.app import WAITING, Service
from stream.camera_config import CameraConfig
from stream.camera_hosts import CameraHosts
from stream.cluster.messages import Assignment, Held, Orders, Released, Report, Snapshot
from stream.cluster.meter import Counts, Meter
from stream.errors import DataError, SyncVISError
from stream.identities import IdLedger
from stream.sources import mask_text
from stream.tenure import Tenure, boot_time_s

_log = logging.getLogger(__name__)

SNAPSHOT_EVERY_S = 1.0
KEPT_S = 6.0
"""A camera whose lease is over is published no more, but runs for so long: a controller that was away gives it back."""
_COUNTED = (
    "syncvis_windows",
    "syncvis_engine_busy_seconds",
    "syncvis_frames_received",
    "syncvis_frames_dropped",
)


@dataclass(slots=True)
class _Camera:
    """`kept_until_s`: it runs up to then, published or not. `begun`: it was this worker's own, not only prepared.
    `applied`: the revision of its settings with which it runs; 0: it does not run yet.
    """

    wanted: Assignment
    tenure: Tenure
    kept_until_s: float
    begun: bool
    applied: int = 0
    error: str | None = None


class Host:
    """`service`: runs already, with no cameras; `ledger`: its engine's. `worker`, `node`: names in the cluster."""

    def __init__(
        self,
        service: Service,
        ledger: IdLedger,
        worker: str,
        node: str,
        *,
        now_s: Callable[[], float] = boot_time_s,
    ) -> None:
        self._service, self._ledger = service, ledger
        self._worker, self._node, self._now_s = worker, node, now_s
        self._hosts = CameraHosts(service.config.server.camera_hosts)
        stride = service.config.pipeline.stride or service.engine.stride
        self._meter, self._answered = Meter(stride), _Growing()
        self._cameras: dict[str, _Camera] = {}
        self._ended: dict[str, int] = {}
        self._released: dict[str, Released] = {}
        self._told: set[str] = set()
        self._snapshots: dict[str, tuple[int, Snapshot]] = {}
        self._snapshots_at_s = 0.0
        self._taking = self._draining = False
        self._busy = asyncio.Lock()

    def report(self, address: str) -> Report:
        """This worker as of now, with what snapshots were taken since the last report."""
        self._meter.add(self._counts())
        snapshots, self._snapshots = self._snapshots, {}
        self._told = set(self._released)
        cameras = self._cameras.items()
        return Report(
            self._worker,
            address,
            self._node,
            {name: self._held(name, each, snapshots.get(name)) for name, each in cameras if each.begun},
            dict(self._released),
            self._meter.capacity_wps,
            self._meter.busy,
            os.getpid(),
            {name: each.tenure.epoch for name, each in cameras if not each.begun and not each.tenure.ended},
            any(each.begun and not each.tenure.ended and not each.tenure.holds for _, each in cameras),
            self._draining,
        )

    async def take_snapshots(self) -> None:
        """Have the trackers' snapshots for the next report, if it is time for them: the engine may be busy for long."""
        now_s = self._now_s()
        if self._taking or now_s - self._snapshots_at_s < SNAPSHOT_EVERY_S:
            return
        self._taking, self._snapshots_at_s = True, now_s
        try:
            await asyncio.gather(*(self._take_snapshot(*item) for item in tuple(self._cameras.items())))
        finally:
            self._taking = False

    def obey(self, orders: Orders, reported_at_s: float) -> None:
        """Take orders that answer the report sent at that time by this machine's clock. Then call `settle`."""
        for name in self._told:
            self._released.pop(name, None)
        self._told = set()
        self._draining |= orders.draining
        until_s = reported_at_s + orders.lease_s
        for assignment in orders.begin:
            self._begin(assignment, orders.hold.get(assignment.camera) == assignment.epoch)
        for name, camera in self._cameras.items():
            if orders.hold.get(name) == camera.tenure.epoch and camera.begun:
                camera.tenure.renew(until_s)
            elif orders.prepare.get(name) != camera.tenure.epoch or camera.begun:
                camera.tenure.end()
            camera.kept_until_s = until_s + KEPT_S

    async def settle(self) -> None:
        """Let the service have the cameras that it is to have now. Several calls follow one another."""
        async with self._busy:
            for name, camera in tuple(self._cameras.items()):
                try:
                    if camera.tenure.ended or self._now_s() >= camera.kept_until_s:
                        await self._let_go(name, camera)
                    elif camera.applied != camera.wanted.revision:
                        await self._apply(name, camera)
                except Exception as error:  # a defect in one camera's path must not end its siblings
                    camera.error = mask_text(f"{type(error).__name__}: {error}".splitlines()[0])
                    _log.exception("camera %s", name)

    def _begin(self, assignment: Assignment, hold: bool) -> None:
        name, camera = assignment.camera, self._cameras.get(assignment.camera)
        if camera is None:
            if assignment.epoch > self._ended.get(name, 0):
                self._cameras[name] = _Camera(
                    assignment, Tenure(assignment.epoch, 0.0, self._now_s), 0.0, hold
                )
            elif hold:  # that it was let go of has not been heard
                self._released[name] = Released(assignment.epoch, Snapshot(self._ledger.first(name)))
        elif camera.tenure.epoch == assignment.epoch:
            if hold and not camera.begun and assignment.first_id != camera.wanted.first_id:
                camera.tenure.end()  # more is known of its tracks than when it was prepared: it has to begin anew
                return
            camera.wanted, camera.begun = assignment, camera.begun or hold
        # Else the one before has to be let go of first: it is told again with the next orders.

    async def _apply(self, name: str, camera: _Camera) -> None:
        wanted = camera.wanted
        try:
            settings = CameraConfig.model_validate(wanted.settings)
            admission = None if wanted.trusted else self._hosts.admit(settings.url)
            if name in self._service.cameras:
                await self._service.cameras.change(name, settings, admission)
            else:
                await self._restore(name, wanted)
                self._service.cameras.add(name, settings, admission, camera.tenure)
            camera.error = None
        except ValidationError:
            camera.error = "its settings are not as this version wants them"
        except SyncVISError as error:
            camera.error = mask_text(str(error))
        if camera.error is not None:
            _log.error("camera %s: %s", name, camera.error)
        camera.applied = wanted.revision

    async def _restore(self, name: str, wanted: Assignment) -> None:
        """Go on with the ids that it had; where what is known of it does not fit, at least with none of them."""
        self._ledger.given(name, wanted.first_id)
        if wanted.snapshot is None:
            return
        try:
            await self._service.restore(name, _unpacked(wanted.snapshot), wanted.first_id)
        except DataError as error:
            _log.warning("camera %s begins anew, with new ids: %s", name, error)

    async def _let_go(self, name: str, camera: _Camera) -> None:
        snapshot = await self._snapshot(name) if camera.begun else None
        if name in self._service.cameras:
            await self._service.cameras.remove(name)
        camera.tenure.end()  # also where it was kept for long enough
        if snapshot is not None:
            self._ended[name] = camera.tenure.epoch
            self._released[name] = Released(camera.tenure.epoch, snapshot)
        del self._cameras[name]

    def _held(self, name: str, camera: _Camera, taken: tuple[int, Snapshot] | None) -> Held:
        running = self._service.cameras.get(name)
        status = None if running is None else running.status()
        up = status is not None and (status.up or status.state == WAITING)
        demand_wps = self._meter.demand_wps(name)
        epoch = camera.tenure.epoch
        snapshot = None if taken is None or taken[0] != epoch else taken[1]
        return Held(epoch, camera.wanted.revision, demand_wps, up, snapshot, camera.error)

    async def _take_snapshot(self, name: str, camera: _Camera) -> None:
        if camera.begun and camera.applied and name in self._service.cameras:
            self._snapshots[name] = (camera.tenure.epoch, await self._snapshot(name))

    async def _snapshot(self, name: str) -> Snapshot:
        data = await self._service.snapshot(name)
        packed = None if data is None else await asyncio.to_thread(zlib.compress, data, 1)
        return Snapshot(self._ledger.first(name), packed)

    def _counts(self) -> Counts:
        """Of the service's own metrics."""
        windows, busy_s = 0.0, 0.0
        frames: dict[str, float] = {}
        registry = self._service.registry
        for family in registry.restricted_registry([f"{name}_total" for name in _COUNTED]).collect():
            for sample in family.samples:
                camera = sample.labels.get("camera", "")
                if family.name == "syncvis_windows":
                    windows += self._answered.more((camera, sample.labels["pace"]), sample.value)
                elif family.name == "syncvis_engine_busy_seconds":
                    busy_s = sample.value
                elif family.name == "syncvis_frames_received":
                    frames[camera] = frames.get(camera, 0.0) + sample.value
                elif sample.labels["cause"] == "fps":
                    frames[camera] = frames.get(camera, 0.0) - sample.value
        self._answered.total += windows
        return Counts(self._now_s(), self._answered.total, busy_s, frames)


class _Growing:
    """A sum of counters that does not shrink when one of them ends or begins anew with its camera."""

    def __init__(self) -> None:
        self.total = 0.0
        self._last: dict[tuple[str, str], float] = {}

    def more(self, key: tuple[str, str], value: float) -> float:
        """By how much a counter grew."""
        before = self._last.get(key, 0.0)
        self._last[key] = value
        return value - before if value >= before else value


def _unpacked(data: bytes) -> bytes:
    """Raises DataError."""
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise DataError(f"tracker state: cannot be read ({error})") from None
