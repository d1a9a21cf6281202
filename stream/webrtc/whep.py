"""WHEP (draft-ietf-wish-whep) over HTTP: the viewer's offer in, the answer and a session's address out.

Owns paths, headers and status codes. Sessions are `sessions`' business.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, status

from stream.webrtc.feed import OverlayFeeds
from stream.webrtc.offer import MAX_OFFER_BYTES, OfferError
from stream.webrtc.sessions import SessionLimitError, Sessions

SDP = "application/sdp"
RETRY_AFTER_S = "1"

_OFFER_BODY = {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}}
_START_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {"description": "The SDP answer; Location is the session.", "content": {SDP: {}}},
    400: {"description": "The body is not an SDP offer that can be answered with video."},
    404: {"description": "No such camera."},
    409: {"description": "The camera has no picture yet; see Retry-After."},
    413: {"description": "The offer is too large."},
    415: {"description": "The body is not application/sdp."},
    503: {"description": "As many viewers as are allowed are being served; see Retry-After."},
}


def whep_router(feeds: OverlayFeeds, sessions: Sessions) -> APIRouter:
    """The routes under /whep."""
    router = APIRouter(prefix="/whep", tags=["WebRTC"])

    @router.post(
        "/{camera}",
        status_code=201,
        summary="Watch a camera's overlay over WebRTC (WHEP)",
        response_class=Response,
        responses=_START_RESPONSES,
        openapi_extra=_OFFER_BODY,
    )
    async def start(camera: str, request: Request) -> Response:
        _require_picture(feeds, camera)
        offer = await _read_offer(request)
        try:
            session, answer = await sessions.open(camera, offer)
        except OfferError as error:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
        except SessionLimitError as error:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE, str(error), {"Retry-After": RETRY_AFTER_S}
            ) from error
        headers = {"Location": f"/whep/{camera}/sessions/{session.id}"}
        return Response(answer, status.HTTP_201_CREATED, headers, media_type=SDP)

    @router.delete(
        "/{camera}/sessions/{session}",
        summary="Stop watching",
        responses={404: {"description": "No such session, or it has ended already."}},
    )
    async def end(camera: str, session: str) -> Response:
        if not await sessions.close(camera, session):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such session")
        return Response(status_code=status.HTTP_200_OK)

    return router


def _require_picture(feeds: OverlayFeeds, camera: str) -> None:
    try:
        feed = feeds[camera]
    except KeyError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from error
    if not feed.has_picture:
        raise HTTPException(
            status.HTTP_409_CONFLICT, "the camera has no picture yet", {"Retry-After": RETRY_AFTER_S}
        )


async def _read_offer(request: Request) -> str:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != SDP:
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, f"the body must be {SDP}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_OFFER_BYTES:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"more than {MAX_OFFER_BYTES} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the body is not UTF-8") from error
