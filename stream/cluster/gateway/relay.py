"""WebSockets that a camera's worker answers: whatever either side says, the other is told.

Owns both ends of a line through a gateway. Neither side is read faster than the other takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import quote

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from stream.cluster.gateway.workers import Workers
from stream.cluster.messages import Owner


async def relay(websocket: WebSocket, owner: Owner | None, workers: Workers) -> None:
    """Connect somebody who may watch with a camera's worker, to the end of either."""
    if owner is None:
        await websocket.send_denial_response(JSONResponse({"detail": "nobody has this camera now"}, 503))
        return
    path = quote(websocket.url.path, safe="/")
    query = f"?{websocket.url.query}" if websocket.url.query else ""
    try:
        async with workers.socket(owner.address, f"{path}{query}") as worker:
            await websocket.accept()
            await _both_ways(websocket, worker)
    except InvalidStatus as error:
        await websocket.send_denial_response(
            JSONResponse({"detail": "refused by the camera's worker"}, error.response.status_code)
        )
    except (OSError, TimeoutError, WebSocketException):
        with contextlib.suppress(RuntimeError):  # it was accepted already
            await websocket.send_denial_response(
                JSONResponse({"detail": "the camera's worker does not answer"}, 503)
            )


async def _both_ways(websocket: WebSocket, worker: ClientConnection) -> None:
    ways = [
        asyncio.create_task(_to_worker(websocket, worker), name="relay to worker"),
        asyncio.create_task(_to_client(websocket, worker), name="relay to client"),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await websocket.close(1001, "the camera was closed")


async def _to_worker(websocket: WebSocket, worker: ClientConnection) -> None:
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        said = message.get("text")
        await worker.send(message.get("bytes") or b"" if said is None else said)


async def _to_client(websocket: WebSocket, worker: ClientConnection) -> None:
    async for message in worker:
        if isinstance(message, str):
            await websocket.send_text(message)
        else:
            await websocket.send_bytes(message)
