"""uvicorn as this project runs it: where it listens, how it ends, and what happens to a client that stalls.

Owns the process's sockets. Does not know what is served: any ASGI application will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from stream.errors import ConfigError

logger = logging.getLogger(__name__)

STALL_TIMEOUT_S = 5.0
"""A client that takes nothing for so long, while its buffers are full, is cut, unless told otherwise."""

DRAIN_TIMEOUT_S = 1
"""How long requests in progress may go on after the server was told to end (uvicorn wants whole seconds)."""


class CuttingConfig(uvicorn.Config):
    """uvicorn's settings, and what becomes of a client that stops reading: after `stall_timeout_s` it is cut, and
    `on_cut` is told whether it was a "websocket" or "http".
    """

    stall_timeout_s: float = STALL_TIMEOUT_S
    on_cut: Callable[[str], None] | None = None


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


class CuttingHttpProtocol(_Cutting, H11Protocol):
    """uvicorn's HTTP protocol, but a client that stops reading its answer is cut."""

    kind = "http"


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
        stall_timeout_s: float = STALL_TIMEOUT_S,
        on_cut: Callable[[str], None] | None = None,
    ) -> ViewerServer:
        """A server for an ASGI application; arguments as those of `run_server`."""
        config = CuttingConfig(
            app,
            host=host,
            port=port,
            http=CuttingHttpProtocol,
            ws=CuttingWebSocketProtocol,
            # A track message is 3 kB: compressing it would cost more than sending it.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
            access_log=False,
            log_config=None,
            server_header=False,
        )
        config.stall_timeout_s, config.on_cut = stall_timeout_s, on_cut
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
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], None] | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    on_cut: Callable[[str], None] | None = None,
) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM, then end within about two seconds.

    Args:
        app: as `stream.server.create_app` makes it.
        host, port: where to listen; port 0 takes any free one.
        on_ready: called once with the address to open, e.g. "http://127.0.0.1:8080/".
        stall_timeout_s: a client that takes nothing for so long, while its buffers are full, is cut.
        on_cut: told of each, "websocket" or "http".

    Raises ConfigError, in one line, when the address cannot be bound.
    """
    with _listen(host, port) as listener:
        server = ViewerServer.create(
            app, host=host, port=port, on_ready=on_ready, stall_timeout_s=stall_timeout_s, on_cut=on_cut
        )
        await server.serve([listener])


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
