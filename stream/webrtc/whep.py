"""WHEP (draft-ietf-wish-whep) over HTTP: the viewer's offer in, the answer and a session's address out.

Owns paths, headers and status codes; docs/whep.md names each requirement and its test. Sessions are `sessions`'
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.params import Depends

from stream.webrtc.feed import OverlayFeeds
from stream.webrtc.offer import MAX_OFFER_BYTES, OfferError
from stream.webrtc.sessions import Session, SessionLimitError, Sessions, UnsupportedError
from stream.webrtc.trickle import MAX_FRAGMENT_BYTES, FragmentError, parse_fragment

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
RETRY_AFTER_S = "1"

Responses = dict[int | str, dict[str, Any]]

_START_RESPONSES: Responses = {
    201: {
        "description": "The SDP answer. Location is the session, ETag its ICE generation, Link its ICE servers.",
        "content": {SDP: {}},
    },
    400: {"description": "The body is not an SDP offer that can be answered with video."},
    401: {"description": "A bearer token is needed, or the one given is wrong."},
    404: {"description": "No such camera."},
    409: {"description": "The camera has no picture yet; see Retry-After."},
    413: {"description": "The offer is too large."},
    415: {"description": "The body is not application/sdp."},
    503: {"description": "As many viewers as are allowed are being served; see Retry-After."},
}
_TRICKLE_RESPONSES: Responses = {
    204: {"description": "The candidates are taken."},
    400: {"description": "The body is not an SDP fragment."},
    404: {"description": "No such session, or it has ended already."},
    412: {"description": "If-Match is not the session's ETag."},
    413: {"description": "The fragment is too large."},
    415: {"description": f"The body is not {FRAGMENT}."},
    422: {"description": "The fragment asks for what is not supported: an ICE restart."},
    428: {"description": "If-Match is missing."},
}
NO_SESSION: Responses = {404: {"description": "No such session, or it has ended already."}}


def _body(media_type: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {"type": "string"}}}}}


def whep_router(feeds: OverlayFeeds, sessions: Sessions, may_watch: Sequence[Depends] = ()) -> APIRouter:
    """The routes under /whep; but for OPTIONS, which browsers ask without credentials, all have `may_watch`."""
    router = APIRouter(prefix="/whep", tags=["WebRTC"])
    _add_endpoint(router, feeds, sessions, may_watch)
    _add_session(router, sessions, may_watch)
    return router


def _add_endpoint(
    router: APIRouter, feeds: OverlayFeeds, sessions: Sessions, may_watch: Sequence[Depends]
) -> None:
    """Where a session begins: POST and OPTIONS of a camera."""

    @router.options("/{camera}", summary="What can be posted", status_code=204, response_class=Response)
    async def options(camera: str) -> Response:
        return Response(status_code=204, headers={"Allow": "OPTIONS, POST", "Accept-Post": SDP})

    _refuse_others(router, "/{camera}", "OPTIONS, POST")

    @router.post(
        "/{camera}",
        status_code=201,
        summary="Watch a camera's overlay over WebRTC (WHEP)",
        dependencies=may_watch,
        response_class=Response,
        responses=_START_RESPONSES,
        openapi_extra=_body(SDP),
    )
    async def start(camera: str, request: Request) -> Response:
        _require_picture(feeds, camera)
        offer = await _read(request, SDP, MAX_OFFER_BYTES)
        try:
            session, answer = await sessions.open(camera, offer)
        except OfferError as error:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
        except SessionLimitError as error:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE, str(error), {"Retry-After": RETRY_AFTER_S}
            ) from error
        headers = {"Location": f"/whep/{camera}/sessions/{session.id}", "ETag": session.etag}
        response = Response(answer, status.HTTP_201_CREATED, headers, media_type=SDP)
        for link in sessions.ice.links(session.id):
            response.headers.append("Link", link)
        return response


def _add_session(router: APIRouter, sessions: Sessions, may_watch: Sequence[Depends]) -> None:
    """A session's own address: PATCH, DELETE and OPTIONS."""

    def find(camera: str, session: str) -> Session:
        found = sessions.find(camera, session)
        if found is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such session")
        return found

    @router.options("/{camera}/sessions/{session}", summary="What a session takes", status_code=204)
    async def session_options(camera: str, session: str) -> Response:
        headers = {"Allow": "OPTIONS, PATCH, DELETE", "Accept-Patch": FRAGMENT}
        return Response(status_code=204, headers=headers)

    @router.patch(
        "/{camera}/sessions/{session}",
        summary="Tell a session of more ICE candidates",
        dependencies=may_watch,
        status_code=204,
        response_class=Response,
        responses=_TRICKLE_RESPONSES,
        openapi_extra=_body(FRAGMENT),
    )
    async def trickle(camera: str, session: str, request: Request) -> Response:
        found = find(camera, session)
        text = await _read(request, FRAGMENT, MAX_FRAGMENT_BYTES, {"Accept-Patch": FRAGMENT})
        _require_generation(request, found)
        try:
            await found.trickle(parse_fragment(text))
        except FragmentError as error:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
        except UnsupportedError as error:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error
        return Response(status_code=204)

    @router.delete(
        "/{camera}/sessions/{session}", summary="Stop watching", responses=NO_SESSION, dependencies=may_watch
    )
    async def end(camera: str, session: str) -> Response:
        await sessions.close(find(camera, session))
        return Response(status_code=status.HTTP_200_OK)

    _refuse_others(router, "/{camera}/sessions/{session}", "OPTIONS, PATCH, DELETE")


def _refuse_others(router: APIRouter, path: str, allowed: str) -> None:
    """405 for every method but these; the framework's own would name the methods of one route only."""
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    others = [method for method in methods if method not in allowed.split(", ")]

    @router.api_route(path, methods=others, include_in_schema=False)
    async def refuse() -> Response:
        raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED, headers={"Allow": allowed})


def _require_picture(feeds: OverlayFeeds, camera: str) -> None:
    try:
        feed = feeds[camera]
    except KeyError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from error
    if not feed.has_picture:
        raise HTTPException(
            status.HTTP_409_CONFLICT, "the camera has no picture yet", {"Retry-After": RETRY_AFTER_S}
        )


def _require_generation(request: Request, session: Session) -> None:
    """If-Match names the generation of ICE that candidates belong to; "*" asks for a new one (RFC 9725, 4.3)."""
    match = request.headers.get("if-match")
    if match is None:
        raise HTTPException(status.HTTP_428_PRECONDITION_REQUIRED, "If-Match is required")
    if match.strip() == "*":
        raise HTTPException(
            status.HTTP_422_UNPROCESSABLE_CONTENT, "ICE restarts are not supported: start a new session"
        )
    if session.etag not in (tag.strip() for tag in match.split(",")):
        raise HTTPException(status.HTTP_412_PRECONDITION_FAILED, "If-Match is not the session's ETag")


async def _read(request: Request, media_type: str, most: int, headers: dict[str, str] | None = None) -> str:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != media_type:
        accepted = headers or {"Accept-Post": media_type}
        raise HTTPException(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, f"the body must be {media_type}", accepted
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"more than {most} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the body is not UTF-8") from error
