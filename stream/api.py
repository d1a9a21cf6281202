"""The REST side: health, metrics, cameras, snapshots. Each answer is what is known now; none waits.

Owns paths, status codes and the documented models. Numbers come from the service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response, status
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field

from stream.app import WAITING, CameraPipeline, Service
from stream.overlay import draw_overlay
from stream.pictures import encode_jpeg
from stream.types import TrackedFrame
from stream.webrtc.feeds import OverlayFeeds
from stream.zones import Regions

JPEG_QUALITY = 90
Responses = dict[int | str, dict[str, Any]]
JPEG: Responses = {200: {"content": {"image/jpeg": {}}}}
NO_CAMERA: Responses = {404: {"description": "No such camera."}}
NO_PICTURE: Responses = {503: {"description": "The camera has no picture yet; see Retry-After."}}


class LatencyReport(BaseModel):
    """Capture-to-publish latency over the newest frames, milliseconds."""

    p50: float
    p95: float
    p99: float


class GlassReport(BaseModel):
    """Capture to a viewer's screen over the last seconds, milliseconds (docs/latency.md)."""

    p50: float
    p95: float


class CameraReport(BaseModel):
    """One camera as of now. Counts are since the start."""

    name: str
    url: str = Field(description="without its password")
    up: bool = Field(description="whether the camera delivers pictures")
    received: int = Field(description="frames decoded")
    processed: int = Field(description="frames published with their tracks")
    dropped: Mapping[str, int] = Field(description="frames that got no answer, by cause")
    fps: float = Field(description="of published frames, over the last seconds")
    latency_ms: LatencyReport | None = Field(description="null before the first published frame")
    reconnects: int
    active_tracks: int
    subscribers: int = Field(description="readers of the camera's tracked frames inside the server")
    viewers: int = Field(description="who watches over WebRTC")
    last_frame_age_s: float | None = Field(description="seconds since the newest frame was published")
    last_error: str | None
    state: str = Field(
        description="up, away, or waiting for publisher (of a camera that is published by WHIP)"
    )
    stages_ms: Mapping[str, float] = Field(
        default={}, description="median time in each stage over the last seconds, milliseconds"
    )
    glass_ms: GlassReport | None = Field(
        default=None, description="null while no viewer says when it shows pictures"
    )
    flags: tuple[str, ...] = Field(
        default=(), description='of its newest frame, e.g. "stale" while the picture is frozen'
    )
    pace: Literal["normal", "widened", "skipping"] = Field(
        default="normal",
        description="the worst of the last seconds: every frame answered; every frame, but more of them at a time, "
        "as they come faster than the model answers; or only the newest (docs/overload.md)",
    )


class Health(BaseModel):
    """`degraded`: the service works, but a camera does not deliver. One that waits for a publisher is well."""

    status: Literal["ok", "degraded", "closing"]
    cameras: dict[str, bool] = Field(description="whether each camera delivers pictures")


def operation_router(service: Service) -> APIRouter:
    """/healthz and /metrics: what machines ask for."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz",
        response_model=Health,
        summary="Whether the service works",
        responses={503: {"model": Health, "description": "The service is about to end."}},
    )
    async def healthz(request: Request) -> Response:
        """200 while the service itself works, also when cameras are away: restarting it would not bring them
        back. 503 only when it is about to end."""
        cameras = {camera.name: camera.up for camera in service.status()}
        healthy = all(camera.up or camera.state == WAITING for camera in service.status())
        state: Literal["ok", "degraded", "closing"] = "ok" if healthy else "degraded"
        if request.app.state.closing:
            state = "closing"
        health = Health(status=state, cameras=cameras)
        return JSONResponse(health.model_dump(), status_code=503 if state == "closing" else 200)

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        service.count_tasks()
        # Exemplars are only in OpenMetrics, which Prometheus asks for.
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.get_running_loop().run_in_executor(None, encode, service.registry)
        return Response(text, headers={"Content-Type": content_type})

    return router


def cameras_router(service: Service, feeds: OverlayFeeds, executor: Executor) -> APIRouter:
    """The routes under /api/cameras. Pictures are drawn on `executor`."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"])

    def find(camera: str) -> CameraPipeline:
        try:
            return service.cameras[camera]
        except KeyError as error:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from error

    @router.get("", summary="All cameras, in the order of the config")
    async def cameras() -> list[CameraReport]:
        return [report_of(camera, feeds) for camera in service.cameras.values()]

    @router.get("/{camera}", summary="One camera", responses=NO_CAMERA)
    async def one_camera(camera: str) -> CameraReport:
        return report_of(find(camera), feeds)

    @router.get(
        "/{camera}/snapshot.jpg",
        summary="The newest picture, with its overlay",
        response_class=Response,
        responses=JPEG | NO_CAMERA | NO_PICTURE,
    )
    async def snapshot(
        camera: str,
        overlay: Annotated[bool, Query(description="false: the camera's picture alone")] = True,
    ) -> Response:
        found = find(camera)
        frame, regions = latest_frame(found), found.scene.zones.view()
        loop = asyncio.get_running_loop()
        jpeg = await loop.run_in_executor(executor, _encode_jpeg, frame, overlay, regions)
        headers = {"Cache-Control": "no-store", "X-Frame-Seq": str(frame.seq)}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    return router


def latest_frame(camera: CameraPipeline) -> TrackedFrame:
    """The camera's newest frame. Raises HTTPException 503 before the first."""
    frame = camera.hub.latest
    if frame is None:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "the camera has no picture yet", {"Retry-After": "1"}
        )
    return frame


def report_of(camera: CameraPipeline, feeds: OverlayFeeds) -> CameraReport:
    """A camera as of now."""
    now, latest = camera.status(), camera.hub.latest
    age_s = None if latest is None else max(0.0, time.time() - latest.published_at_s)
    flags = () if latest is None else latest.flags
    viewers = feeds.viewers(camera.name)
    return CameraReport(**asdict(now), viewers=viewers, last_frame_age_s=age_s, flags=flags)


def _encode_jpeg(frame: TrackedFrame, overlay: bool, regions: Regions) -> bytes:
    image = draw_overlay(frame.image, frame.tracks, regions=regions) if overlay else frame.image
    return encode_jpeg(image, JPEG_QUALITY)
