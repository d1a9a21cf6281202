"""The service: all cameras behind one engine. Owns their start and their end.

Knows nothing about HTTP: `stream.server.create_app(service)` shows a Service to the world.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry

from stream.cameras import CLOSE_TIMEOUT_S, WAITING, Cameras
from stream.config import ServeConfig
from stream.engine import Engine, NamedEngine
from stream.errors import ConfigError
from stream.event_hub import EventHub
from stream.hub import Hub
from stream.identities import IdLedger
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scheduler import Scheduler
from stream.statistics import CameraStatus, LatencyMs
from stream.tracing import Tracing

__all__ = ["WAITING", "CameraPipeline", "CameraStatus", "LatencyMs", "Service"]

_log = logging.getLogger(__name__)

SETTLED = ("labels", "window_frames", "stride", "max_lost_s")
"""What cameras, zones and viewers are set up for: an engine that replaces another one has the same."""


class Service:
    """All cameras of one config, and those that come later (`cameras`). Use `async with`, or `start()` and then
    `close()`, once. `ledger`: the one that the engine has, of the ids that cameras were given. `traces`: who makes
    some of frames' ways.

    Raises ConfigError when an address or the stride is wrong.
    """

    def __init__(
        self,
        config: ServeConfig,
        engine: Engine,
        *,
        registry: CollectorRegistry | None = None,
        ledger: IdLedger | None = None,
        traces: Tracing | None = None,
    ) -> None:
        self.config = config
        self.registry = registry or CollectorRegistry()
        self._metrics = Metrics(self.registry)
        self._scheduler = Scheduler(engine)
        self.events = EventHub(on_drop=lambda kind: self._metrics.events_dropped.labels(kind).inc())
        self.cameras = Cameras(
            config, self._scheduler, self._metrics, self.events, ledger or IdLedger(), traces
        )
        for name, camera in config.cameras.items():
            self.cameras.add(name, camera)
        self._running: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine:
        """What answers the cameras' windows now."""
        return self._scheduler.engine

    async def replace_engine(self, engine: Engine) -> None:
        """Let another engine answer all windows from the next one on. What was followed begins anew, with new ids: the
        queries of one model mean nothing to another.

        Raises ConfigError where its answers would not fit what was set up for those of the one before.
        """
        if other := [what for what in SETTLED if getattr(engine, what) != getattr(self.engine, what)]:
            raise ConfigError(f"a model that differs in {', '.join(other)} needs a restart")
        await self._scheduler.replace(engine)
        self._tell(engine)

    def _tell(self, engine: Engine) -> None:
        """Log what computes the network, and set its metric."""
        self._metrics.engine.clear()
        if isinstance(engine, NamedEngine):
            info = engine.info
            _log.info("engine: %s%s", info, f" ({info.why})" if info.why else "")
            self._metrics.engine.labels(info.engine, info.device, info.precision).set(1)

    async def snapshot(self, camera: str) -> bytes | None:
        """All that is remembered of a camera's tracks, for another process to go on with; None where nothing is."""
        return await self._scheduler.snapshot(camera)

    async def restore(self, camera: str, data: bytes, first_id: int = 1) -> None:
        """Let a camera that is about to be added go on from a snapshot, with new ids from `first_id` on. Raises
        DataError and ConfigError, and it begins anew.
        """
        await self._scheduler.restore(camera, data, first_id)

    def subscriber_cut(self, transport: str) -> None:
        """A client that stopped reading was cut; `transport` is "websocket" or "http"."""
        self._metrics.subscribers_cut.labels(transport).inc()

    def request_refused(self, reason: str) -> None:
        """A client was refused because it asked for too much; `reason` is one of `stream.metrics.REFUSALS`."""
        self._metrics.requests_refused.labels(reason).inc()

    def sessions_counted(self, peers: str, count: Callable[[], int]) -> None:
        """Whoever asks for metrics is told how many WebRTC sessions there are of `peers`, "viewers" or "publishers"."""
        self._metrics.webrtc_sessions.labels(peers).set_function(count)

    def count_tasks(self) -> None:
        """Set the metric of the event loop's tasks; to be called on that loop."""
        self._metrics.asyncio_tasks.set(len(asyncio.all_tasks()))

    def hub(self, camera: str) -> Hub:
        """The hub of a camera. Raises KeyError when there is no such camera."""
        return self.cameras[camera].hub

    def status(self) -> tuple[CameraStatus, ...]:
        """Every camera as of now, in the order in which they came."""
        return tuple(camera.status() for camera in self.cameras.values())

    async def start(self) -> None:
        """Start all cameras; returns at once (a camera that cannot be reached is tried again and again)."""
        self._tell(self.engine)
        self._scheduler.start()
        self._running = asyncio.create_task(self.cameras.run(), name="service")

    async def close(self) -> None:
        """End subscriptions, stop the cameras (to a deadline, then by force), end the engine. Idempotent."""
        self.cameras.close()
        self.events.close()
        running, self._running = self._running, None
        if running is not None:
            await _end(running, CLOSE_TIMEOUT_S)
        await self._scheduler.close(CLOSE_TIMEOUT_S)
        self.cameras.remove_all()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _end(task: asyncio.Task[None], timeout_s: float) -> None:
    """Wait for a task; cancel it after the timeout and wait for that."""
    _, late = await asyncio.wait([task], timeout=timeout_s)
    if late:
        _log.warning("cameras did not stop within %.1f s: cancelled", timeout_s)
        task.cancel()
        await asyncio.wait([task])
