"""What every answer tells the browser that gets it, errors and refused WebSockets too.

Owns the headers. An answer that sets one of them itself keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": (
        # A page of this server may publish the camera that it is given (docs/whep.md); no other page in it may.
        "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=(), serial=(), "
        "hid=(), midi=()"
    ),
}
OWN_PAGES_ONLY = {"Cross-Origin-Resource-Policy": "same-origin"}
"""No other site's page may show a picture of this server; where `server.origins` names some, they may."""
HSTS = "max-age=31536000"
"""A browser that was here by HTTPS comes by nothing else for a year."""

_STARTS = ("http.response.start", "websocket.http.response.start")


class SecurityHeaders:
    """An ASGI application whose answers carry the headers; `origins`: as in `stream.server.ServerOptions`."""

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._headers = HEADERS if origins else HEADERS | OWN_PAGES_ONLY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                self._add(MutableHeaders(scope=message), scope)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add(self, headers: MutableHeaders, scope: Scope) -> None:
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if scope["scheme"] in ("https", "wss"):
            headers.setdefault("Strict-Transport-Security", HSTS)
        if scope["path"] == "/" or scope["path"].startswith("/static"):
            headers.setdefault("Cache-Control", "no-cache")
