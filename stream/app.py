"""The service: all cameras of one config behind one engine. Owns their start and their end.

Knows nothing about HTTP: `stream.server.create_app(service)` shows a Service to the world.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry

from stream.camera import CameraSource
from stream.camera_config import CameraConfig
from stream.config import ServeConfig
from stream.engine import Engine
from stream.errors import SyncVISError
from stream.event_hub import EventHub
from stream.events import TrackEvents
from stream.hub import Hub
from stream.intake import Intake
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scene import Scene, check_labels
from stream.scheduler import Scheduler
from stream.sources import ReconnectPolicy, mask_url
from stream.sources.published import Doorway
from stream.sources.urls import parse_address
from stream.statistics import CameraStatistics, CameraStatus, LatencyMs
from stream.types import TrackedFrame
from stream.zones import Zones

__all__ = ["CameraPipeline", "CameraStatus", "LatencyMs", "Service"]

_log = logging.getLogger(__name__)

WAITING = "waiting for publisher"
"""The state of a camera to which nobody publishes."""

CLOSE_TIMEOUT_S = 1.0
"""What cameras and the engine each get to end by themselves before they are cancelled."""


class Service:
    """All cameras of one config. Use `async with`, or `start()` and then `close()`, once.

    Raises ConfigError when an address or the stride is wrong.
    """

    def __init__(
        self, config: ServeConfig, engine: Engine, *, registry: CollectorRegistry | None = None
    ) -> None:
        self.config = config
        self.engine = engine
        self.registry = registry or CollectorRegistry()
        self._metrics = Metrics(self.registry)
        self._scheduler = Scheduler(engine)
        self._statistics: dict[str, CameraStatistics] = {}
        self.events = EventHub(on_drop=lambda kind: self._metrics.events_dropped.labels(kind).inc())
        self.doorways: dict[str, Doorway] = {}
        """Of those cameras that are published (`whip:`)."""
        self.cameras: Mapping[str, CameraPipeline] = {
            name: self._pipeline(name, camera) for name, camera in config.cameras.items()
        }
        self._running: asyncio.Task[None] | None = None

    def _pipeline(self, name: str, camera: CameraConfig) -> CameraPipeline:
        check_labels(camera, self.engine.labels, f"cameras.{name}")
        published = parse_address(camera.url).kind == "publisher"
        if published:
            self.doorways[name] = Doorway()
        statistics = CameraStatistics(
            name, mask_url(camera.url), self._metrics, down=WAITING if published else "away"
        )
        self._statistics[name] = statistics
        doorway = self.doorways.get(name)
        source = CameraSource(camera, statistics, policy=ReconnectPolicy(), doorway=doorway)
        pipeline = CameraPipeline(
            source,
            self._scheduler,
            statistics,
            self.config.pipeline,
            packets=source.packets,
            intake=Intake(camera.fps, camera.crop),
            scene=Scene.of(camera),
        )
        pipeline.hub.listen(partial(self._tell_events, pipeline, self._track_events(pipeline.scene.zones)))
        return pipeline

    def _track_events(self, zones: Zones) -> TrackEvents:
        settings, gone_after_s = self.config.pipeline, self.config.events.gone_after_s
        policies = {
            "gap": settings.on_gap,
            "resize": settings.on_resize,
            "cut": settings.on_cut,
            "stale": settings.on_stale,
        }
        resets = [flag for flag, policy in policies.items() if policy == "reset"]
        return TrackEvents(self.engine.max_lost_s if gone_after_s is None else gone_after_s, resets, zones)

    def _tell_events(self, camera: CameraPipeline, events: TrackEvents, frame: TrackedFrame | None) -> None:
        if frame is None:
            return
        for event in events.of(frame):
            camera.statistics.happened(event)
            self.events.publish(event)
        camera.statistics.inside(camera.scene.zones.view()[0])

    def subscriber_cut(self, transport: str) -> None:
        """A client that stopped reading was cut; `transport` is "websocket" or "http"."""
        self._metrics.subscribers_cut.labels(transport).inc()

    def hub(self, camera: str) -> Hub:
        """The hub of a camera. Raises KeyError when there is no such camera."""
        return self.cameras[camera].hub

    def status(self) -> tuple[CameraStatus, ...]:
        """Every camera as of now, in the order of the config."""
        return tuple(camera.status() for camera in self.cameras.values())

    async def start(self) -> None:
        """Start all cameras; returns at once (a camera that cannot be reached is tried again and again)."""
        self._scheduler.start()
        self._running = asyncio.create_task(self._run(), name="service")

    async def close(self) -> None:
        """End subscriptions, stop the cameras (to a deadline, then by force), end the engine. Idempotent."""
        for camera in self.cameras.values():
            camera.hub.close()
            camera.stop()
        self.events.close()
        running, self._running = self._running, None
        if running is not None:
            await _end(running, CLOSE_TIMEOUT_S)
        await self._scheduler.close(CLOSE_TIMEOUT_S)
        for statistics in self._statistics.values():
            statistics.remove()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for camera in self.cameras.values():
                tasks.create_task(self._run_camera(camera), name=f"camera {camera.name}")

    async def _run_camera(self, camera: CameraPipeline) -> None:
        """One camera to its end; whatever ends it stays with it."""
        try:
            await camera.run()
        except SyncVISError as error:
            _log.error("camera %s ended: %s", camera.name, error)
        except Exception as error:  # a defect in one camera's path must not end its siblings
            self._statistics[camera.name].error(f"{type(error).__name__}: {error}".splitlines()[0])
            _log.exception("camera %s ended by a defect", camera.name)
        else:
            _log.info("camera %s ended", camera.name)
        await self._scheduler.forget(camera.name)


async def _end(task: asyncio.Task[None], timeout_s: float) -> None:
    """Wait for a task; cancel it after the timeout and wait for that."""
    _, late = await asyncio.wait([task], timeout=timeout_s)
    if late:
        _log.warning("cameras did not stop within %.1f s: cancelled", timeout_s)
        task.cancel()
        await asyncio.wait([task])
