"""The routes for programs: tracks and events, as they are now, as Server-Sent Events, or by WebSocket; their schemas.

Owns paths and what each may ask for. What is sent is `stream.feeds`'.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response, WebSocket, status
from fastapi.responses import JSONResponse

from stream.access import Access
from stream.api import NO_CAMERA, NO_PICTURE, Responses, latest_frame
from stream.app import Service
from stream.events import TrackEvent
from stream.feeds import Encoders, EventFeed, Feed, FrameFeed
from stream.selection import (
    Selection,
    events_of_all_cameras,
    events_of_one_camera,
    of_all_cameras,
    of_one_camera,
)
from stream.sse import EventStream, last_event_id, wants_stream
from stream.track_socket import serve_socket
from stream.wire import WireFrame

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS: dict[str, tuple[type[WireFrame] | type[TrackEvent], int]] = {
    "tracks": (WireFrame, 1),
    "events": (TrackEvent, 1),
}
STREAM: Responses = {
    200: {
        "description": "As JSON; with `Accept: text/event-stream` one for each from now on, as Server-Sent Events.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
OneCamera = Annotated[Selection, Depends(of_one_camera)]
AllCameras = Annotated[Selection, Depends(of_all_cameras)]
EventsOfOne = Annotated[Selection, Depends(events_of_one_camera)]
EventsOfAll = Annotated[Selection, Depends(events_of_all_cameras)]
After = Annotated[int | None, Query(ge=0, description="first those that are kept after this number")]


class Feeds:
    """Opens feeds of one service's frames and events."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._encoders = Encoders()

    def known(self, selection: Selection) -> bool:
        """Whether all cameras that it names are there."""
        return selection.cameras <= self._service.cameras.keys()

    def found(self, selection: Selection) -> Selection:
        """The selection. Raises HTTPException 404 when it names a camera that is not there."""
        if not self.known(selection):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
        return selection

    def frames(self, selection: Selection) -> Feed:
        """The frames of the cameras that are wanted."""
        return FrameFeed(self._service.cameras, self._encoders, selection)

    def events(self, selection: Selection, after: int | None = None) -> Feed:
        """The events that are wanted."""
        return EventFeed(self._service.cameras, self._service.events, selection, after)


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what is sent. Raises KeyError for a name that is not in SCHEMAS."""
    model, version = SCHEMAS[name]
    schema = model.model_json_schema(mode="serialization")
    head = {"$schema": DIALECT, "$id": f"urn:syncvis-online:{name}:{version}", "version": version}
    return head | schema


class SchemaResponse(JSONResponse):
    """A JSON Schema."""

    media_type = "application/schema+json"


def schema_router() -> APIRouter:
    """/api/schema: what programs can generate their readers from. Says nothing about a camera."""
    router = APIRouter(prefix="/api/schema", tags=["programs"])

    @router.get(
        "/{name}.json",
        summary="The JSON Schema of what is sent: tracks or events",
        response_class=SchemaResponse,
        responses={404: {"description": "No such schema."}},
    )
    async def schema(name: str) -> Response:
        if name not in SCHEMAS:
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is {', '.join(SCHEMAS)}")
        return SchemaResponse(schema_of(name))

    return router


def programs_router(service: Service, feeds: Feeds) -> APIRouter:
    """Tracks and events over HTTP."""
    router = APIRouter(prefix="/api", tags=["programs"])
    _add_tracks(router, service, feeds)
    _add_events(router, service, feeds)
    return router


def _add_tracks(router: APIRouter, service: Service, feeds: Feeds) -> None:
    @router.get(
        "/tracks",
        summary="The newest tracked frame of each camera, or all from now on",
        response_model=list[WireFrame],
        responses=STREAM | NO_CAMERA,
    )
    async def tracks(request: Request, wanted: AllCameras) -> Any:
        feeds.found(wanted)
        if wants_stream(request):
            return EventStream(partial(feeds.frames, wanted))
        newest = [camera.hub.latest for name, camera in service.cameras.items() if wanted.wants_camera(name)]
        return [WireFrame.of(wanted.of(frame)) for frame in newest if frame is not None]

    @router.get(
        "/cameras/{camera}/tracks",
        summary="The newest tracked frame, or all from now on",
        response_model=WireFrame,
        responses=STREAM | NO_CAMERA | NO_PICTURE,
    )
    async def tracks_of(request: Request, camera: str, wanted: OneCamera) -> Any:
        wanted = feeds.found(_only(camera, wanted))
        if wants_stream(request):
            return EventStream(partial(feeds.frames, wanted))
        return WireFrame.of(wanted.of(latest_frame(service.cameras[camera])))


def _add_events(router: APIRouter, service: Service, feeds: Feeds) -> None:
    def answer(request: Request, wanted: Selection, after: int | None) -> Response | list[TrackEvent]:
        if wants_stream(request):
            last = last_event_id(request)
            return EventStream(partial(feeds.events, wanted, after if last is None else last))
        kept = [event for event in service.events.history if wanted.wants_event(event)]
        return [event for event in kept if after is None or event.number > after]

    @router.get(
        "/events",
        summary="The newest events of all cameras, or all from now on",
        response_model=list[TrackEvent],
        responses=STREAM | NO_CAMERA,
    )
    async def events(request: Request, wanted: EventsOfAll, after: After = None) -> Any:
        return answer(request, feeds.found(wanted), after)

    @router.get(
        "/cameras/{camera}/events",
        summary="The newest events of a camera, or all from now on",
        response_model=list[TrackEvent],
        responses=STREAM | NO_CAMERA,
    )
    async def events_of_one(request: Request, camera: str, wanted: EventsOfOne, after: After = None) -> Any:
        return answer(request, feeds.found(_only(camera, wanted)), after)


def sockets_router(access: Access, feeds: Feeds) -> APIRouter:
    """The same by WebSocket, at the same paths; tracks of one camera also where they were first."""
    router = APIRouter()

    @router.websocket("/api/tracks")
    async def tracks(websocket: WebSocket, wanted: AllCameras) -> None:
        await serve_socket(websocket, access, partial(feeds.frames, wanted) if feeds.known(wanted) else None)

    @router.websocket("/ws/cameras/{camera}/tracks")
    @router.websocket("/api/cameras/{camera}/tracks")
    async def tracks_of(websocket: WebSocket, camera: str, wanted: OneCamera) -> None:
        wanted = _only(camera, wanted)
        await serve_socket(websocket, access, partial(feeds.frames, wanted) if feeds.known(wanted) else None)

    @router.websocket("/api/events")
    async def events(websocket: WebSocket, wanted: EventsOfAll, after: After = None) -> None:
        feed = partial(feeds.events, wanted, after)
        await serve_socket(websocket, access, feed if feeds.known(wanted) else None)

    @router.websocket("/api/cameras/{camera}/events")
    async def events_of(websocket: WebSocket, camera: str, wanted: EventsOfOne, after: After = None) -> None:
        wanted = _only(camera, wanted)
        feed = partial(feeds.events, wanted, after)
        await serve_socket(websocket, access, feed if feeds.known(wanted) else None)

    return router


def _only(camera: str, wanted: Selection) -> Selection:
    return replace(wanted, cameras=frozenset((camera,)))
