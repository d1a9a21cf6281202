"""The WebSocket of a camera's pictures, one binary message each: what the page falls back to where UDP is blocked.

Owns how it begins and ends. A client that stops reading is cut by `stream.http_protocols`, and until then it only makes
itself skip pictures. docs/pictures.md says what is sent.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from stream.access import Access
from stream.pictures import Masks, PictureFeeds, PictureReader, Size
from stream.track_socket import admitted, until_disconnect


def picture_socket_router(feeds: PictureFeeds, access: Access) -> APIRouter:
    """The route /api/cameras/{camera}/pictures."""
    router = APIRouter()

    @router.websocket("/api/cameras/{camera}/pictures")
    async def pictures(
        websocket: WebSocket,
        camera: str,
        size: Annotated[Size, Query()] = "full",
        masks: Annotated[Masks, Query()] = "overlay",
    ) -> None:
        if not await admitted(websocket, access):
            return
        try:
            reader = feeds.join(camera, size, masks)
        except KeyError:
            await websocket.send_denial_response(JSONResponse({"detail": "no such camera"}, 404))
            return
        try:
            await websocket.accept()
            await _stream(websocket, reader)
        finally:
            reader.close()

    return router


async def _stream(websocket: WebSocket, reader: PictureReader) -> None:
    """Send until one side ends: the client leaves, is cut, or the camera ends."""
    leaving = asyncio.create_task(until_disconnect(websocket, reader), name="picture socket reader")
    try:
        async for picture in reader:
            if picture.text is not None:
                await websocket.send_text(picture.text)
            await websocket.send_bytes(picture.jpeg)
        if not leaving.done():
            await websocket.close(1001, "the camera was closed")
    except WebSocketDisconnect:
        pass
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
