"""What WHIP (RFC 9725) and WHEP share over HTTP: an offer in, an answer and a session's address out, PATCH and DELETE.

Owns paths, headers and status codes; docs/whep.md names each requirement and its test. Does not know which way the
pictures go: `whep` and `whip` say who may begin a session, and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.params import Depends

from stream.clients import client_of
from stream.webrtc.offer import MAX_OFFER_BYTES, OfferError, UnsupportedOfferError
from stream.webrtc.sessions import ClientLimitError, Session, SessionLimitError, Sessions, UnsupportedError
from stream.webrtc.trickle import MAX_FRAGMENT_BYTES, FragmentError, parse_fragment

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
RETRY_AFTER = {"Retry-After": "1"}

Responses = dict[int | str, dict[str, Any]]

START_RESPONSES: Responses = {
    201: {
        "description": (
            "The SDP answer. Location is the session, ETag its ICE generation, Link its ICE servers and extensions."
        ),
        "content": {SDP: {}},
    },
    400: {"description": "The body is not an SDP offer that can be answered with video."},
    401: {"description": "A bearer token is needed, or the one given is wrong."},
    403: {"description": "The bearer token is one for something else."},
    404: {"description": "No such camera."},
    413: {"description": "The offer is too large."},
    415: {"description": "The body is not application/sdp."},
    429: {"description": "As many peers as one client may have are being served; see Retry-After."},
    503: {
        "description": "As many peers as are allowed are served, or the server is about to end; see Retry-After."
    },
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
_DENIED: Responses = {code: START_RESPONSES[code] for code in (401, 403)}
_NO_SESSION: Responses = _DENIED | {404: {"description": "No such session, or it has ended already."}}


def body_of(media_type: str) -> dict[str, Any]:
    """What OpenAPI is told of a body that is no JSON."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": {"type": "string"}}}}}


def add_endpoint(router: APIRouter) -> None:
    """What an endpoint, a camera's address, says to everything but POST."""

    @router.options("/{camera}", summary="What can be posted", status_code=204, response_class=Response)
    async def options(camera: str) -> Response:
        return Response(status_code=204, headers={"Allow": "OPTIONS, POST", "Accept-Post": SDP})

    _refuse_others(router, "/{camera}", "OPTIONS, POST")


Begin = Callable[[str], Awaitable[tuple[Session, str]]]
"""From an offer to a session and its answer: see `Sessions.open`."""


async def answer_offer(
    request: Request, camera: str, sessions: Sessions, prefix: str, begin: Begin | None = None
) -> Response:
    """Begin a session with the offer in the request's body; the answer to the POST. `begin`: how, where the session
    does not carry what all do.
    """
    if request.app.state.closing:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "the server is about to end: try again", RETRY_AFTER
        )
    begin = begin or partial(sessions.open, camera, client=client_of(request))
    offer = await _read(request, SDP, MAX_OFFER_BYTES)
    try:
        session, answer = await begin(offer)
    except UnsupportedOfferError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error
    except OfferError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
    except ClientLimitError as error:
        raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, str(error), RETRY_AFTER) from error
    except SessionLimitError as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error), RETRY_AFTER) from error
    headers = {"Location": f"{prefix}/{camera}/sessions/{session.id}", "ETag": session.etag}
    response = Response(answer, status.HTTP_201_CREATED, headers, media_type=SDP)
    for link in sessions.ice.links(session.id):
        response.headers.append("Link", link)
    return response


def add_session(router: APIRouter, sessions: Sessions, allowed: Sequence[Depends], end_summary: str) -> None:
    """A session's own address: PATCH and DELETE for those who are `allowed`, and OPTIONS."""

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
        dependencies=allowed,
        status_code=204,
        response_class=Response,
        responses=_DENIED | _TRICKLE_RESPONSES,
        openapi_extra=body_of(FRAGMENT),
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
        "/{camera}/sessions/{session}", summary=end_summary, responses=_NO_SESSION, dependencies=allowed
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
