"""WHIP (RFC 9725) over HTTP: who may publish a camera, and when. The rest is `signalling`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.params import Depends

from stream.sources.published import Doorway, OccupiedError
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

PREFIX = "/whip"
_RESPONSES: Responses = START_RESPONSES | {
    404: {"description": "No such camera, or none that is published (url: whip:)."},
    409: {"description": "The camera has a publisher already; see Retry-After."},
    422: {"description": "The offer holds more than one video and one audio."},
}


def whip_router(
    doorways: Mapping[str, Doorway], sessions: Sessions, may_publish: Sequence[Depends]
) -> APIRouter:
    """The routes under /whip; but for OPTIONS, which browsers ask without credentials, all have `may_publish`."""
    router = APIRouter(prefix=PREFIX, tags=["WebRTC"])
    add_endpoint(router)

    @router.post(
        "/{camera}",
        status_code=201,
        summary="Publish a camera's video over WebRTC (WHIP)",
        dependencies=may_publish,
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra=body_of(SDP),
    )
    async def start(camera: str, request: Request) -> Response:
        if camera not in doorways:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera that is published")
        try:
            return await answer_offer(request, camera, sessions, PREFIX)
        except OccupiedError as error:
            raise HTTPException(status.HTTP_409_CONFLICT, str(error), RETRY_AFTER) from error

    add_session(router, sessions, may_publish, "Stop publishing")
    return router
