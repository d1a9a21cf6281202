"""The routes by which a cluster's cameras are listed, added, changed and removed, by way of the controller.

Owns what is checked before a camera is the cluster's. No value of a body comes back: it may be a password.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Request, Response, status

from stream.api import NO_CAMERA, CameraReport
from stream.camera_config import CameraConfig
from stream.camera_hosts import CameraHosts
from stream.camera_store import settings_of
from stream.cluster.gateway.routes import Gate, asked
from stream.cluster.messages import Settings
from stream.config import ServeConfig
from stream.errors import ConfigError, StreamError
from stream.roster_api import body_object, name_of, settings_in
from stream.sources.urls import PUBLISHED, mask_url, parse_address

UNASSIGNED = "unassigned"
"""The state of a camera that no worker has now."""


def listing_routes(gate: Gate) -> APIRouter:
    """GET /api/cameras."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"])

    @router.get("", summary="All cameras")
    async def cameras() -> list[CameraReport]:
        table = gate.directory.table
        answers = await asyncio.gather(
            *(gate.forwarder.ask(each.address, "/api/cameras") for each in table.workers)
        )
        reports: dict[str, CameraReport] = {}
        for worker, answer in zip(table.workers, answers, strict=True):
            for item in answer if isinstance(answer, list) else []:
                owner = table.cameras.get(item["name"])
                if owner is not None and owner.worker == worker.worker:
                    reports[item["name"]] = CameraReport.model_validate(item)
        return [reports.get(name) or _nowhere(name) for name in table.cameras]

    return router


def changing_routes(gate: Gate, config: ServeConfig) -> APIRouter:
    """POST, PUT and DELETE, and a camera's settings."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"])
    checks = _Checks(config)

    @router.post("", status_code=201, summary="Add a camera")
    async def add(request: Request, response: Response) -> dict[str, str]:
        body = await body_object(request)
        name = name_of(body)
        settings = settings_in(body)
        await checks.check(settings)
        refused = await asked(gate.control.add(name, settings_of(settings), config.server.max_cameras))
        if refused == "exists":
            raise HTTPException(status.HTTP_409_CONFLICT, f"there is a camera '{name}' already")
        if refused:
            detail = f"{config.server.max_cameras} cameras are there, the limit (server.max_cameras)"
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, detail)
        response.headers["Location"] = f"/api/cameras/{name}"
        return {"name": name, "url": mask_url(settings.url)}

    @router.put("/{camera}", summary="Give a camera other settings, all of them", responses=NO_CAMERA)
    async def change(camera: str, request: Request) -> dict[str, str]:
        settings = settings_in(await body_object(request))
        old = (await _settings(gate, camera))["url"]
        if settings.url == mask_url(old):
            settings = settings.model_copy(update={"url": old})
        else:
            await checks.check(settings)
        if not await asked(gate.control.change(camera, settings_of(settings))):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
        return {"name": camera, "url": mask_url(settings.url)}

    @router.delete("/{camera}", status_code=204, summary="Remove a camera", responses=NO_CAMERA)
    async def remove(camera: str) -> Response:
        if not await asked(gate.control.remove(camera)):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
        return Response(status_code=204)

    @router.get("/{camera}/config", summary="A camera's settings, without its password", responses=NO_CAMERA)
    async def settings(camera: str) -> CameraConfig:
        found = CameraConfig.model_validate(await _settings(gate, camera))
        return found.model_copy(update={"url": mask_url(found.url)})

    return router


class _Checks:
    """What nobody may ask for over the network."""

    def __init__(self, config: ServeConfig) -> None:
        self._config, self._hosts = config, CameraHosts(config.server.camera_hosts)

    async def check(self, settings: CameraConfig) -> None:
        """Raises HTTPException 422."""
        try:
            self._hosts.check_url(settings.url)
            if settings.url.lower() == PUBLISHED and not self._config.server.publish_tokens:
                raise ConfigError("url: nobody may publish here: server.publish_tokens are not set")
            parse_address(settings.url)
            await self._hosts.check(settings.url)
        except StreamError as error:
            if not error.retryable:
                raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, f"url: {error}") from None
        except ConfigError as error:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from None


async def _settings(gate: Gate, camera: str) -> Settings:
    settings = (await asked(gate.control.cameras())).get(camera)
    if settings is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
    return settings


def _nowhere(name: str) -> CameraReport:
    """A camera of which no worker says anything now."""
    return CameraReport(
        name=name, url="", up=False, received=0, processed=0, dropped={}, fps=0.0, latency_ms=None, reconnects=0,
        active_tracks=0, subscribers=0, viewers=0, last_frame_age_s=None, last_error=None, state=UNASSIGNED,
    )  # fmt: skip
