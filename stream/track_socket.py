"""The WebSocket that streams a camera's tracks: one JSON text for each frame, newest only.

Owns who may open it and how it ends. What is sent is `stream.wire`'s; a client that stops reading is cut by
`stream.http_server`, and until then it only makes its own subscription skip frames.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from stream.access import Access, denied
from stream.app import Service
from stream.hub import Hub
from stream.types import TrackedFrame
from stream.wire import encode


class Closable(Protocol):
    """What a WebSocket sends."""

    def close(self) -> None:
        """End it. Idempotent."""
        ...


class WireEncoder:
    """Encodes a frame once, however many subscribers ask for it."""

    def __init__(self) -> None:
        self._frame: TrackedFrame | None = None
        self._text = ""

    def text(self, frame: TrackedFrame) -> str:
        """The JSON text of a frame."""
        if frame is not self._frame:
            self._text, self._frame = encode(frame), frame
        return self._text


def track_socket_router(service: Service, access: Access) -> APIRouter:
    """The route /ws/cameras/{camera}/tracks."""
    router = APIRouter()
    encoders = {name: WireEncoder() for name in service.cameras}

    @router.websocket("/ws/cameras/{camera}/tracks")
    async def stream_tracks(websocket: WebSocket, camera: str) -> None:
        if not await admitted(websocket, access):
            return
        if camera not in encoders:
            await websocket.send_denial_response(JSONResponse({"detail": "no such camera"}, 404))
            return
        await websocket.accept()
        await _stream(websocket, service.hub(camera), encoders[camera])

    return router


async def admitted(websocket: WebSocket, access: Access) -> bool:
    """Whether somebody may open a WebSocket here; who may not has been told why."""
    if not same_origin(websocket.headers.get("origin"), websocket.headers.get("host")):
        await websocket.send_denial_response(JSONResponse({"detail": "wrong origin"}, 403))
        return False
    if not access.allows(websocket):
        refused = denied(websocket)
        answer = JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
        await websocket.send_denial_response(answer)
        return False
    return True


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a browser's page may read the tracks: only this server's own. Programs send no origin."""
    return origin is None or urlsplit(origin).netloc == host


async def _stream(websocket: WebSocket, hub: Hub, encoder: WireEncoder) -> None:
    """Send until one side ends: the client leaves, is cut, or the camera's hub closes."""
    with_latest = hub.latest
    async with hub.subscribe() as frames:
        if with_latest is not None:
            frames.offer(with_latest)
        leaving = asyncio.create_task(until_disconnect(websocket, frames), name="track socket reader")
        try:
            async for frame in frames:
                await websocket.send_text(encoder.text(frame))
            if not leaving.done():
                await websocket.close(1001, "the camera was closed")
        except WebSocketDisconnect:
            pass
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


async def until_disconnect(websocket: WebSocket, frames: Closable) -> None:
    """Read and ignore what the client says; when it has left, end what it is sent."""
    try:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        frames.close()
