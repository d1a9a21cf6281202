"""WHEP (draft-ietf-wish-whep) over HTTP: who may watch a camera, and when. The rest is `signalling`'s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response, status
from fastapi.params import Depends

from stream.clients import client_of
from stream.webrtc.feeds import OverlayFeeds
from stream.webrtc.sessions import Session, Sessions
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
from stream.webrtc.viewing import viewing_as_data

PREFIX = "/whep"

MASKS_EXTENSION = "urn:ietf:params:whep:ext:syncvis:masks"
"""Our own name, not registered with IANA: docs/masks.md. Its resource is the session's WebSocket; of a session that is
shown the overlay, it is where one begins that has masks as data."""

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
        summary="Watch a camera over WebRTC (WHEP)",
        dependencies=may_watch,
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra=body_of(SDP),
    )
    async def start(
        camera: str,
        request: Request,
        masks: Annotated[
            Literal["overlay", "data"],
            Query(description="overlay: drawn into the picture; data: beside it, see docs/masks.md"),
        ] = "overlay",
    ) -> Response:
        async def begin_as_data(offer: str) -> tuple[Session, str]:
            viewing, narrowed = viewing_as_data(feeds, camera, offer)
            client = client_of(request)
            if narrowed is None:
                return await sessions.open(camera, offer, viewing, client)
            session, answer = await sessions.open(camera, narrowed.offer, viewing, client)
            return session, narrowed.answer(answer)

        _require_picture(feeds, camera)
        as_data = masks == "data"
        response = await answer_offer(request, camera, sessions, PREFIX, begin_as_data if as_data else None)
        resource = f"{response.headers['Location']}/masks" if as_data else f"{PREFIX}/{camera}?masks=data"
        response.headers.append("Link", f'<{resource}>; rel="{MASKS_EXTENSION}"')
        return response

    add_session(router, sessions, may_watch, "Stop watching")
    return router


def _require_picture(feeds: OverlayFeeds, camera: str) -> None:
    try:
        feed = feeds[camera]
    except KeyError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from error
    if not feed.has_picture:
        raise HTTPException(status.HTTP_409_CONFLICT, "the camera has no picture yet", RETRY_AFTER)
