"""WHEP (draft-ietf-wish-whep) over HTTP: who may watch a camera, and when. The rest is `signalling`'s."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.params import Depends

from stream.webrtc.feed import OverlayFeeds
from stream.webrtc.sessions import Sessions
from stream.webrtc.signalling import (
    RETRY_AFTER,
    SDP,
    START_RESPONSES,
    Responses,
    add_endpoint,
    add_session,
    answer_offer,
    body_of,
)

PREFIX = "/whep"
_RESPONSES: Responses = START_RESPONSES | {
    409: {"description": "The camera has no picture yet; see Retry-After."}
}


def whep_router(feeds: OverlayFeeds, sessions: Sessions, may_watch: Sequence[Depends] = ()) -> APIRouter:
    """The routes under /whep; but for OPTIONS, which browsers ask without credentials, all have `may_watch`."""
    router = APIRouter(prefix=PREFIX, tags=["WebRTC"])
    add_endpoint(router)

    @router.post(
        "/{camera}",
        status_code=201,
        summary="Watch a camera's overlay over WebRTC (WHEP)",
        dependencies=may_watch,
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra=body_of(SDP),
    )
    async def start(camera: str, request: Request) -> Response:
        _require_picture(feeds, camera)
        return await answer_offer(request, camera, sessions, PREFIX)

    add_session(router, sessions, may_watch, "Stop watching")
    return router


def _require_picture(feeds: OverlayFeeds, camera: str) -> None:
    try:
        feed = feeds[camera]
    except KeyError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from error
    if not feed.has_picture:
        raise HTTPException(status.HTTP_409_CONFLICT, "the camera has no picture yet", RETRY_AFTER)
