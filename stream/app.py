"""The service: all cameras of one config behind one engine. Owns their start and their end.

Knows nothing about HTTP: `stream.server.create_app(service, registry)` shows a Service to the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from prometheus_client import CollectorRegistry

from stream.engine import Engine
from stream.hub import Hub


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Capture-to-publish latency in milliseconds over the newest frames (a bounded window)."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera as of now. `url` is masked; `latency_ms` is None before the first published frame.

    `received`, `processed`, `dropped` (by cause) and `reconnects` count since the start; `fps` is of
    published frames over the last seconds; `last_error` is one line, or None.
    """

    name: str
    url: str
    up: bool
    received: int
    processed: int
    fps: float
    reconnects: int
    active_tracks: int
    subscribers: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    latency_ms: LatencyMs | None = None
    last_error: str | None = None


class CameraPipeline:
    """One camera, source to hub. The server needs `name`, `hub` and `status()`."""

    name: str
    hub: Hub

    def status(self) -> CameraStatus:
        """The camera as of now."""
        raise NotImplementedError


class Service:
    """All cameras of one config. Use `async with`, or `start()` and `close()`."""

    cameras: Mapping[str, CameraPipeline]
    engine: Engine
    registry: CollectorRegistry

    def hub(self, camera: str) -> Hub:
        """The hub of a camera. Raises KeyError when there is no such camera."""
        return self.cameras[camera].hub

    def status(self) -> tuple[CameraStatus, ...]:
        """Every camera as of now, in the order of the config."""
        return tuple(camera.status() for camera in self.cameras.values())

    async def start(self) -> None:
        """Start all cameras; returns at once (a camera that cannot be reached is retried)."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop sources, drain to a deadline, end every subscription, close. Idempotent."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
