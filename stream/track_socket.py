"""The WebSockets of programs: a feed as JSON texts, one a message.

Owns who may open one and how it ends. What is sent is `stream.feeds`'; a client that stops reading is cut by
`stream.http_protocols`, and until then it only makes its own subscription skip frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from stream.access import Access, denied
from stream.feeds import Feed


class Closable(Protocol):
    """What a WebSocket sends."""

    def close(self) -> None:
        """End it. Idempotent."""
        ...


async def serve_socket(websocket: WebSocket, access: Access, open_feed: Callable[[], Feed] | None) -> None:
    """Answer a WebSocket: refuse it, or accept it and send a feed to its end. `open_feed`: None where there is no such
    camera.
    """
    if not await admitted(websocket, access):
        return
    if open_feed is None:
        await websocket.send_denial_response(JSONResponse({"detail": "no such camera"}, 404))
        return
    await websocket.accept()
    await _stream(websocket, open_feed())


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


async def _stream(websocket: WebSocket, feed: Feed) -> None:
    """Send until one side ends: the client leaves, is cut, or the feed ends."""
    leaving = asyncio.create_task(until_disconnect(websocket, feed), name="track socket reader")
    try:
        async for message in feed:
            await websocket.send_text(message.text)
        if not leaving.done():
            await websocket.close(1001, "the camera was closed")
    except WebSocketDisconnect:
        pass
    finally:
        feed.close()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def until_disconnect(websocket: WebSocket, feed: Closable) -> None:
    """Read and ignore what the client says; when it has left, end what it is sent."""
    try:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        feed.close()
