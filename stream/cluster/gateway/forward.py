"""Requests that a camera's worker answers, for who asked a gateway.

Owns which headers travel, and what is said where the worker cannot be reached.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx
from fastapi import HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse

from stream.cluster.gateway.directory import Directory
from stream.cluster.gateway.workers import Workers
from stream.cluster.messages import Owner

MAX_BYTES = 256 * 1024
"""Of a body: an SDP offer or fragment."""
RETRY = {"Retry-After": "1"}
_ASKED = ("accept", "content-type", "if-match")
_ANSWERED = (
    *("content-type", "cache-control", "location", "etag", "link", "retry-after", "allow"),
    *("accept-post", "accept-patch", "x-frame-seq"),
)


class Forwarder:
    """`workers`: how they are reached."""

    def __init__(self, directory: Directory, workers: Workers) -> None:
        self._directory, self._workers = directory, workers
        self._http = workers.client()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def owner(self, camera: str) -> Owner:
        """Who has a camera. Raises HTTPException 404, or 503 while nobody has it."""
        try:
            owner = self._directory.owner(camera)
        except KeyError:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera") from None
        if owner is None:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE, "the camera is on its way to another worker", RETRY
            )
        return owner

    async def forward(self, request: Request, camera: str) -> Response:
        """What a camera's worker says to a request. Raises HTTPException."""
        owner = self.owner(camera)
        body = await _body(request)
        headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
        path = quote(request.url.path, safe="/")
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            answer = await self._http.request(
                request.method,
                f"{owner.address}{path}{query}",
                headers=headers,
                content=body,
                extensions=self._workers.extensions,
            )
        except httpx.HTTPError:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE, "the camera's worker does not answer", RETRY
            ) from None
        response = Response(answer.content, answer.status_code)
        for name, value in answer.headers.multi_items():
            if name in _ANSWERED:
                response.headers.append(name, value)
        return response

    def redirect(self, request: Request, camera: str) -> Response:
        """Send who asks to a camera's worker, with the same method and body (RFC 9110, 15.4.8)."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{self.owner(camera).address}{request.url.path}{query}", 307)

    async def ask(self, address: str, path: str) -> object | None:
        """A worker's JSON answer; None where there is none."""
        try:
            answer = await self._http.get(f"{address}{path}", extensions=self._workers.extensions)
            return answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError):
            return None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, f"more than {MAX_BYTES} bytes")
    return bytes(body)
