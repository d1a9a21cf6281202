"""uvicorn's protocols as this project runs them: what becomes of a client that reads nothing or never ends its request.

Owns the time that a connection gets. Does not know what is served, nor where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from stream.clients import Connections

logger = logging.getLogger(__name__)

STALL_TIMEOUT_S = 5.0
"""A client that takes nothing for so long, while its buffers are full, is cut, unless told otherwise."""
REQUEST_TIMEOUT_S = 10.0
"""So long a request may take to come, head and body, after the connection or its first byte, unless told otherwise."""


class CuttingConfig(uvicorn.Config):
    """uvicorn's settings, and what becomes of a client that stops reading: after `stall_timeout_s` it is cut, and
    `on_cut` is told whether it was a "websocket" or "http". One whose request has not come whole after
    `request_timeout_s` is cut too, and so is one more connection than `connections` lets a client have; `on_refuse` is
    told "slow" or "connections".
    """

    stall_timeout_s: float = STALL_TIMEOUT_S
    on_cut: Callable[[str], None] | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    connections: Connections | None = None
    on_refuse: Callable[[str], None] | None = None

    def refused(self, reason: str) -> None:
        """A client was cut for what it asks for."""
        if self.on_refuse is not None:
            self.on_refuse(reason)


class _StallTimer:
    """Aborts a transport that stays full. It cannot be closed politely: closing waits until the client has read what is
    buffered, which may be never.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stalled(self) -> bool:
        """Whether the client's buffers are full."""
        return self._timer is not None

    def start(self, config: uvicorn.Config, transport: asyncio.Transport) -> None:
        """The client does not keep up: start its time."""
        timeout_s = getattr(config, "stall_timeout_s", STALL_TIMEOUT_S)
        self.forget()
        self._timer = asyncio.get_running_loop().call_later(
            timeout_s, self._cut, config, transport, timeout_s
        )

    def forget(self) -> None:
        """The client reads again, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, config: uvicorn.Config, transport: asyncio.Transport, timeout_s: float) -> None:
        logger.warning("cut a client (%s) that read nothing for %.1f s", self._kind, timeout_s)
        transport.abort()
        on_cut: Callable[[str], None] | None = getattr(config, "on_cut", None)
        if on_cut is not None:
            on_cut(self._kind)


class _Cutting(asyncio.Protocol):
    """What a protocol of uvicorn's gets before it, so that a client that stops reading is cut."""

    kind: ClassVar[str]
    config: uvicorn.Config
    transport: asyncio.Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stall = _StallTimer(self.kind)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self._stall.start(self.config, self.transport)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stall.forget()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whatever cause."""
        self._stall.forget()
        if (connections := getattr(self.config, "connections", None)) is not None:
            connections.leave(self.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: nobody waits for a client that stalls."""
        if self._stall.stalled:
            self.transport.abort()
        else:
            super().shutdown()  # type: ignore[misc]  # uvicorn's, which comes after this one


class CuttingWebSocketProtocol(_Cutting, WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, but a client that stops reading is cut."""

    kind = "websocket"

    async def send(self, message: Any) -> None:
        """As uvicorn's; but a WebSocket that was refused with an answer is no error of the application's."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True


class CuttingHttpProtocol(_Cutting, H11Protocol):
    """uvicorn's HTTP protocol, but a client that stops reading its answer is cut, and so is one whose request does not
    come: uvicorn itself waits for ever for the first one, and for the end of each.
    """

    kind = "http"
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: its first request is waited for."""
        super().connection_made(transport)
        if isinstance(self.config, CuttingConfig) and self.config.connections is not None:
            host = self.client[0] if self.client else ""
            if not self.config.connections.enter(transport, host):
                transport.abort()
                self.config.refused("connections")
                return
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """A part of a request, one or more requests, or the beginning of a WebSocket."""
        super().data_received(data)
        # A WebSocket that begins has its own protocol from here on.
        mine = self.transport.get_protocol() is self and not self.transport.is_closing()
        if mine and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._await_request()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whatever cause."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        """Its time runs, from the first call on."""
        if self._deadline is None:
            timeout_s = getattr(self.config, "request_timeout_s", REQUEST_TIMEOUT_S)
            self._deadline = self.loop.call_later(timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        # Browsers open lines that they may never use.
        logger.debug("cut a client whose request did not come")
        self.transport.abort()
        if isinstance(self.config, CuttingConfig):
            self.config.refused("slow")
