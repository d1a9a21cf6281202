"""What a WebSocket is told that has no place here: an answer as for any other request, not a closed line.

Owns the answers to addresses that there are none of, and to queries that are wrong.
"""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from fastapi.exceptions import WebSocketRequestValidationError
from fastapi.responses import JSONResponse


def answer_lost_websockets(app: FastAPI) -> None:
    """To be called when all routes are there."""

    @app.websocket("/{path:path}")
    async def nowhere(websocket: WebSocket, path: str) -> None:
        await websocket.send_denial_response(JSONResponse({"detail": "no such WebSocket"}, 404))

    @app.exception_handler(WebSocketRequestValidationError)
    async def wrong(websocket: WebSocket, error: WebSocketRequestValidationError) -> None:
        problems = [{"loc": each["loc"], "msg": each["msg"]} for each in error.errors()]
        await websocket.send_denial_response(JSONResponse({"detail": problems}, 422))
