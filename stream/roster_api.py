"""The routes by which cameras are added, changed and removed while the server runs.

Owns paths, status codes, and that no value of a body comes back: it may be a password. What may be done is
`stream.roster`'s.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response, status
from pydantic import TypeAdapter, ValidationError

from stream.api import NO_CAMERA, CameraReport, Responses, report_of
from stream.app import Service
from stream.camera_config import CameraConfig, Name
from stream.errors import ConfigError
from stream.roster import CameraExistsError, NoCameraError, NotStoredError, Roster, TooManyCamerasError
from stream.sources.urls import mask_url
from stream.webrtc.feeds import OverlayFeeds
from syncvis_online.validation import first_problems

MAX_BYTES = 256 * 1024
"""Of settings: 32 zones and as many lines with all their corners take less."""

_NAME = TypeAdapter(Name)
_STATUS = {
    CameraExistsError: status.HTTP_409_CONFLICT,
    NoCameraError: status.HTTP_404_NOT_FOUND,
    TooManyCamerasError: status.HTTP_503_SERVICE_UNAVAILABLE,
    NotStoredError: status.HTTP_507_INSUFFICIENT_STORAGE,
    ConfigError: status.HTTP_422_UNPROCESSABLE_CONTENT,
}
_DENIED: Responses = {
    401: {"description": "A token of server.admin_tokens is needed."},
    403: {"description": "The token is one for something else."},
}
_WRONG: Responses = {
    400: {"description": "The body is no JSON object."},
    413: {"description": "The body is too large."},
    415: {"description": "The body is not application/json."},
    422: {"description": "A setting is wrong; the message names its key."},
    507: {"description": "The change could not be written down: nothing was done."},
}
_SETTINGS = {"$ref": "#/components/schemas/CameraConfig"}


class _NewCamera(CameraConfig):
    """A camera's settings, and its name."""

    name: Name


def _new_camera_schema() -> dict[str, Any]:
    """Its parts are in the document by way of `CameraConfig`."""
    schema = _NewCamera.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


T = TypeVar("T")


def roster_router(service: Service, roster: Roster, feeds: OverlayFeeds) -> APIRouter:
    """POST /api/cameras, PUT and DELETE /api/cameras/{camera}, GET /api/cameras/{camera}/config."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"], responses=_DENIED)

    def report(name: str) -> CameraReport:
        if name not in service.cameras:  # somebody else has removed it
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
        return report_of(service.cameras[name], feeds)

    @router.post(
        "",
        status_code=201,
        summary="Add a camera",
        responses=_WRONG
        | {
            409: {"description": "There is a camera of that name."},
            503: {"description": "As many cameras as are allowed (server.max_cameras) are there."},
        },
        openapi_extra=_body(_new_camera_schema()),
    )
    async def add(request: Request, response: Response) -> CameraReport:
        body = await body_object(request)
        name = name_of(body)
        await _done(roster.add(name, settings_in(body)))
        response.headers["Location"] = f"/api/cameras/{name}"
        return report(name)

    @router.put(
        "/{camera}",
        summary="Give a camera other settings, all of them",
        responses=_WRONG | NO_CAMERA,
        openapi_extra=_body(_SETTINGS),
    )
    async def change(camera: str, request: Request) -> CameraReport:
        body = await body_object(request)
        await _done(roster.change(camera, settings_in(body)))
        return report(camera)

    @router.delete("/{camera}", status_code=204, summary="Remove a camera", responses=NO_CAMERA)
    async def remove(camera: str) -> Response:
        await _done(roster.remove(camera))
        return Response(status_code=204)

    @router.get("/{camera}/config", summary="A camera's settings, without its password", responses=NO_CAMERA)
    async def config(camera: str) -> CameraConfig:
        try:
            settings = roster.settings(camera)
        except NoCameraError as error:
            raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
        return settings.model_copy(update={"url": mask_url(settings.url)})

    return router


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _done(change: Awaitable[T]) -> T:
    """Make a change, or say why it was not made."""
    try:
        return await change
    except tuple(_STATUS) as error:
        code = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
        raise HTTPException(code, str(error)) from None


async def body_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises HTTPException."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"more than {MAX_BYTES} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the body is no JSON object")
    return found


def name_of(body: dict[str, Any]) -> str:
    """The name, which is taken out of a body. Raises HTTPException."""
    try:
        return _NAME.validate_python(body.pop("name", None), strict=True)
    except ValidationError as error:
        problem = first_problems(error, 1)[0].removeprefix(": ")
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, f"name: {problem}") from None


def settings_in(body: dict[str, Any]) -> CameraConfig:
    """A body's settings. Raises HTTPException, without a value."""
    try:
        return CameraConfig.model_validate(body)
    except ValidationError as error:
        problems = "; ".join(first_problems(error, 3))
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, problems) from None
