"""The cameras that run: each is started, changed, replaced and stopped by itself, and its siblings notice nothing.

Owns one task a camera, and that all a camera has ends with it: its hub, its events, its metrics, its ids' lock. Who
holds something of a camera's elsewhere (`CameraWatcher`) is told. Does not know who may ask for a change: see
`stream.roster`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from stream.camera import CameraSource
from stream.camera_config import CameraConfig
from stream.config import ServeConfig
from stream.errors import SyncVISError
from stream.event_hub import EventHub
from stream.events import TrackEvents
from stream.identities import IdLedger
from stream.intake import Intake
from stream.log import about
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scene import Scene, check_labels
from stream.scheduler import Scheduler
from stream.sources import ReconnectPolicy, mask_url
from stream.sources.admitted import Admission
from stream.sources.published import Doorway
from stream.sources.urls import parse_address
from stream.statistics import AWAY, CameraStatistics
from stream.tenure import Tenure
from stream.tracing import Tracing
from stream.types import TrackedFrame
from stream.zones import Zones

_log = logging.getLogger(__name__)

WAITING = "waiting for publisher"
"""The state of a camera to which nobody publishes."""

CLOSE_TIMEOUT_S = 1.0
"""What cameras get to end by themselves before they are cancelled."""

LIVE_KEYS = {"labels", "min_score", "ignore", "zones", "lines", "blur", "priority"}
"""Settings that a running camera takes over."""


class CameraWatcher(Protocol):
    """Told of cameras that come and go, on the event loop's thread; must neither block nor raise."""

    def came(self, camera: CameraPipeline) -> None:
        """A camera is there from now on."""

    def went(self, camera: CameraPipeline) -> None:
        """It is there no more; its hub is closed."""


@dataclass(slots=True)
class _Running:
    settings: CameraConfig
    pipeline: CameraPipeline
    tenure: Tenure | None = None
    task: asyncio.Task[None] | None = None


class Cameras(Mapping[str, CameraPipeline]):
    """The cameras by name, in the order in which they came. Changes are made one after another: see `stream.roster`."""

    def __init__(
        self,
        config: ServeConfig,
        scheduler: Scheduler,
        metrics: Metrics,
        events: EventHub,
        ledger: IdLedger,
        traces: Tracing | None = None,
    ) -> None:
        self.doorways: dict[str, Doorway] = {}
        """Of those cameras that are published (`whip:`)."""
        self._config, self._scheduler, self._metrics = config, scheduler, metrics
        self._events, self._ledger, self._traces = events, ledger, traces
        self._running: dict[str, _Running] = {}
        self._watchers: set[CameraWatcher] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._closed = asyncio.Event()

    def __getitem__(self, name: str) -> CameraPipeline:
        return self._running[name].pipeline

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._running))

    def __len__(self) -> int:
        return len(self._running)

    @property
    def closed(self) -> bool:
        """Whether none will come any more."""
        return self._closed.is_set()

    def settings(self, name: str) -> CameraConfig:
        """The settings of a camera. Raises KeyError."""
        return self._running[name].settings

    def watch(self, watcher: CameraWatcher) -> None:
        """Tell `watcher` from now on."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: CameraWatcher) -> None:
        """No more. Idempotent."""
        self._watchers.discard(watcher)

    def check(self, name: str, settings: CameraConfig) -> None:
        """Raises ConfigError, which names the key, for settings with which no camera can be set up."""
        check_labels(settings, self._scheduler.engine.labels, f"cameras.{name}")
        parse_address(settings.url)

    def add(
        self,
        name: str,
        settings: CameraConfig,
        admission: Admission | None = None,
        tenure: Tenure | None = None,
    ) -> None:
        """Set a camera up, and start it if the others run. `tenure`: in a cluster, for how long it may publish.

        Raises ConfigError, and nothing has changed.
        """
        running = self._made(name, settings, admission, tenure)
        self._running[name] = running
        self._start(running)

    async def change(self, name: str, settings: CameraConfig, admission: Admission | None = None) -> bool:
        """Let a camera go on with other settings; whether that took another connection, which ends all that read it.

        Raises KeyError, or ConfigError where nothing has changed.
        """
        running = self._running[name]
        if _needs_new_connection(running.settings, settings):
            await self._replace(name, settings, admission)
            return True
        self.check(name, settings)
        statistics = running.pipeline.statistics
        for zone in running.settings.zones.keys() - settings.zones.keys():
            statistics.remove_zone(zone)
        for line in running.settings.lines.keys() - settings.lines.keys():
            statistics.remove_line(line)
        running.pipeline.scene.reconfigure(settings)
        running.pipeline.priority = settings.priority
        running.settings = settings
        return False

    async def remove(self, name: str) -> None:
        """Stop a camera and forget all of it but the ids it gave. Raises KeyError."""
        running = self._running[name]
        await self._stop(running)
        del self._running[name]
        self._forget(running)

    async def run(self) -> None:
        """Run all cameras, those that come later too, until `close`."""
        async with asyncio.TaskGroup() as self._tasks:
            for running in self._running.values():
                self._start(running)
            await self._closed.wait()
        self._tasks = None

    def close(self) -> None:
        """Stop all; `run` returns when they have ended."""
        self._closed.set()
        for running in self._running.values():
            running.pipeline.hub.close()
            running.pipeline.stop()
            self._tell_went(running.pipeline)

    def remove_all(self) -> None:
        """Take the series of all cameras; to be called last."""
        for running in self._running.values():
            running.pipeline.statistics.remove()

    def _made(
        self, name: str, settings: CameraConfig, admission: Admission | None, tenure: Tenure | None
    ) -> _Running:
        """A camera that does not run yet; it is in the metrics already."""
        self.check(name, settings)
        published = parse_address(settings.url).kind == "publisher"
        doorway = Doorway() if published else None
        down = WAITING if published else AWAY
        self._ledger.admit(name)
        statistics = CameraStatistics(name, mask_url(settings.url), self._metrics, down=down)
        try:
            source = CameraSource(
                settings, statistics, policy=ReconnectPolicy(), doorway=doorway, admission=admission
            )
            pipeline = CameraPipeline(
                source,
                self._scheduler,
                statistics,
                self._config.pipeline,
                packets=source.packets,
                intake=Intake(settings.fps, settings.crop),
                scene=Scene.of(settings),
                priority=settings.priority,
                traces=self._traces,
                tenure=tenure,
            )
        except SyncVISError:
            statistics.remove()
            self._ledger.release(name)
            raise
        if doorway is not None:
            self.doorways[name] = doorway
        events = self._track_events(pipeline.scene.zones)
        pipeline.hub.listen(partial(self._tell_events, pipeline, events, tenure))
        return _Running(settings, pipeline, tenure)

    def _start(self, running: _Running) -> None:
        name = running.pipeline.name
        if self._tasks is not None and not self.closed:
            running.task = self._tasks.create_task(self._run_camera(running.pipeline), name=f"camera {name}")
        for watcher in tuple(self._watchers):
            watcher.came(running.pipeline)

    async def _replace(self, name: str, settings: CameraConfig, admission: Admission | None) -> None:
        # All that can be wrong is found before the old one is stopped; meanwhile it keeps its place in the list.
        self.check(name, settings)
        old = self._running[name]
        await self._stop(old)
        self._forget(old)
        self._running[name] = new = self._made(name, settings, admission, old.tenure)
        self._start(new)

    async def _stop(self, running: _Running) -> None:
        """End one camera, by force after a while, and wait for that."""
        running.pipeline.hub.close()
        running.pipeline.stop()
        self._tell_went(running.pipeline)
        task = running.task
        if task is not None:
            _, late = await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
            if late:
                _log.warning(
                    "camera %s did not stop within %.1f s: cancelled", running.pipeline.name, CLOSE_TIMEOUT_S
                )
                task.cancel()
                await asyncio.wait([task])

    def _forget(self, running: _Running) -> None:
        name = running.pipeline.name
        self.doorways.pop(name, None)
        running.pipeline.statistics.remove()
        self._ledger.release(name)

    def _tell_went(self, pipeline: CameraPipeline) -> None:
        for watcher in tuple(self._watchers):
            watcher.went(pipeline)

    async def _run_camera(self, camera: CameraPipeline) -> None:
        """One camera to its end; whatever ends it stays with it."""
        with about(camera=camera.name):
            await self._run_to_its_end(camera)

    async def _run_to_its_end(self, camera: CameraPipeline) -> None:
        try:
            await camera.run()
        except SyncVISError as error:
            _log.error("camera %s ended: %s", camera.name, error)
        except Exception as error:  # a defect in one camera's path must not end its siblings
            camera.statistics.error(f"{type(error).__name__}: {error}".splitlines()[0])
            _log.exception("camera %s ended by a defect", camera.name)
        else:
            _log.info("camera %s ended", camera.name)
        finally:
            await self._scheduler.forget(camera.name)

    def _track_events(self, zones: Zones) -> TrackEvents:
        gone_after_s = self._config.events.gone_after_s
        resets = [flag for flag, policy in self._config.pipeline.policies.items() if policy == "reset"]
        max_lost_s = self._scheduler.engine.max_lost_s
        return TrackEvents(max_lost_s if gone_after_s is None else gone_after_s, resets, zones)

    def _tell_events(
        self, camera: CameraPipeline, events: TrackEvents, tenure: Tenure | None, frame: TrackedFrame | None
    ) -> None:
        for event in events.end() if frame is None else events.of(frame):
            if tenure is not None:
                if not tenure.holds:  # it goes on elsewhere: nothing is gone
                    return
                event = event.model_copy(update={"epoch": tenure.epoch})
            camera.statistics.happened(event)
            self._events.publish(event)
        camera.statistics.inside(camera.scene.zones.view()[0])


def _needs_new_connection(old: CameraConfig, new: CameraConfig) -> bool:
    """Whether anything differs that a running camera cannot take over. Where more has to be hidden from now on, no
    picture may go on being shown that was published before, or that viewers are sent untouched.
    """
    apart = old.as_sent != new.as_sent or set(new.blur) - set(old.blur)
    return bool(apart) or old.model_dump(exclude=LIVE_KEYS) != new.model_dump(exclude=LIVE_KEYS)
