"""The WebSockets of programs: a feed as JSON texts, one a message.

Owns who may open one and how it ends. What is sent is `stream.feeds`'; a client that stops reading is cut by
`stream.http_server`, and until then it only makes its own subscription skip frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from stream.access import Access, denied
from stream.feeds import Feed


async def serve_socket(websocket: WebSocket, access: Access, open_feed: Callable[[], Feed] | None) -> None:
    """Answer a WebSocket: refuse it, or accept it and send a feed to its end. `open_feed`: None where there is no such
    camera.
    """
    refusal = _refusal(websocket, access)
    if refusal is None and open_feed is None:
        refusal = JSONResponse({"detail": "no such camera"}, 404)
    if refusal is not None:
        await websocket.send_denial_response(refusal)
    elif open_feed is not None:
        await websocket.accept()
        await _stream(websocket, open_feed())


def _refusal(websocket: WebSocket, access: Access) -> JSONResponse | None:
    if not same_origin(websocket.headers.get("origin"), websocket.headers.get("host")):
        return JSONResponse({"detail": "wrong origin"}, 403)
    if not access.allows(websocket):
        refused = denied(websocket)
        return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
    return None


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a browser's page may read the tracks: only this server's own. Programs send no origin."""
    return origin is None or urlsplit(origin).netloc == host


async def _stream(websocket: WebSocket, feed: Feed) -> None:
    """Send until one side ends: the client leaves, is cut, or the feed ends."""
    leaving = asyncio.create_task(_until_disconnect(websocket, feed), name="track socket reader")
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


async def _until_disconnect(websocket: WebSocket, feed: Feed) -> None:
    """Read and ignore what the client says; when it has left, end the feed."""
    try:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        feed.close()
