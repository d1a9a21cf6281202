"""The WebSocket of one WebRTC viewer: the masks of the very pictures that it is sent, as on its data channel.

Owns how it begins and ends. What is sent is `stream.webrtc.mask_outlet`'s.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from stream.access import Access
from stream.track_socket import admitted, until_disconnect
from stream.webrtc.mask_outlet import MaskOutlet
from stream.webrtc.sessions import Sessions
from stream.webrtc.viewing import Viewing


def mask_socket_router(sessions: Sessions, access: Access) -> APIRouter:
    """The route /whep/{camera}/sessions/{session}/masks."""
    router = APIRouter()

    @router.websocket("/whep/{camera}/sessions/{session}/masks")
    async def stream_masks(websocket: WebSocket, camera: str, session: str) -> None:
        if not await admitted(websocket, access):
            return
        found = sessions.find(camera, session)
        if found is None or not isinstance(found.media, Viewing):
            await websocket.send_denial_response(JSONResponse({"detail": "no such session"}, 404))
            return
        await websocket.accept()
        await _stream(websocket, found.media.masks)

    return router


async def _stream(websocket: WebSocket, masks: MaskOutlet) -> None:
    """Send until one side ends: the client leaves, is cut, or the session ends."""
    texts = masks.join()
    leaving = asyncio.create_task(until_disconnect(websocket, texts), name="mask socket reader")
    try:
        async for text in texts:
            await websocket.send_text(text)
        if not leaving.done():
            await websocket.close(1001, "the session has ended")
    except WebSocketDisconnect:
        pass
    finally:
        masks.leave(texts)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
