"""uvicorn as this project runs it: where it listens, how it ends, and what happens to a client that stalls.

Owns the process's sockets. Does not know what is served: any ASGI application will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from stream.errors import ConfigError

logger = logging.getLogger(__name__)

STALL_TIMEOUT_S = 5.0
"""A WebSocket client that takes nothing for so long, while its buffers are full, is cut."""

DRAIN_TIMEOUT_S = 1
"""How long requests in progress may go on after the server was told to end (uvicorn wants whole seconds)."""


class CuttingWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, but a client that stops reading is cut.

    A transport whose buffer is full cannot be closed politely: closing waits until the client has read what
    is buffered, which may be never. After `STALL_TIMEOUT_S` the connection is aborted.
    """

    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The client does not keep up: start its time."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_TIMEOUT_S, self._cut)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._forget()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whatever cause."""
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: nobody waits for a client that stalls."""
        if self.writable.is_set():
            super().shutdown()
        else:
            self.transport.abort()

    def _cut(self) -> None:
        logger.warning("cut a WebSocket client that read nothing for %.0f s", STALL_TIMEOUT_S)
        self.transport.abort()

    def _forget(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class ViewerServer(uvicorn.Server):
    """A server that says when it listens, and where, and returns when it was told to end."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None] | None = None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @classmethod
    def create(
        cls,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        on_ready: Callable[[str], None] | None = None,
    ) -> ViewerServer:
        """A server for an ASGI application; arguments as those of `run_server`."""
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            ws=CuttingWebSocketProtocol,
            # A track message is 3 kB: compressing it would cost more than sending it.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
            access_log=False,
            log_config=None,
            server_header=False,
        )
        return cls(config, on_ready)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal only ends the server: what comes after it, cameras for one, still has to
        be closed, and a signal that is raised again would end the process before."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")


async def run_server(
    app: Any, *, host: str = "127.0.0.1", port: int = 8080, on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM, then end within about two seconds.

    Args:
        app: as `stream.server.create_app` makes it.
        host, port: where to listen; port 0 takes any free one.
        on_ready: called once with the address to open, e.g. "http://127.0.0.1:8080/".

    Raises ConfigError, in one line, when the address cannot be bound.
    """
    with _listen(host, port) as listener:
        await ViewerServer.create(app, host=host, port=port, on_ready=on_ready).serve([listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
