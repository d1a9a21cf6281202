"""uvicorn as this project runs it: where it listens, how it ends, in TLS or not, and whom it believes who asks.

Owns the process's sockets. Does not know what is served: any ASGI application will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from stream.clients import MAX_HEADER_BYTES, Connections
from stream.errors import ConfigError
from stream.http_protocols import (
    REQUEST_TIMEOUT_S,
    STALL_TIMEOUT_S,
    CuttingConfig,
    CuttingHttpProtocol,
    CuttingWebSocketProtocol,
)
from stream.listening import address_to_open

DRAIN_TIMEOUT_S = 1
"""How long requests in progress may go on after the server was told to end (uvicorn wants whole seconds)."""


MAX_MESSAGE_BYTES = 64 * 1024
"""Of a WebSocket message from a client; none has to say anything."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How connections are served.

    `tls`: with which certificate; None: plain HTTP. `proxies`: addresses and networks of those who may say in
    X-Forwarded-For and X-Forwarded-Proto for whom they ask. `stall_timeout_s`: a client that takes nothing for so
    long, while its buffers are full, is cut, and `on_cut` told "websocket" or "http". `request_timeout_s`: so long a
    request may take to come; then the client is cut, as is one more connection of a client than `connections` lets it
    have; `on_refuse` is told "slow" or "connections".
    """

    tls: ssl.SSLContext | None = None
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    stall_timeout_s: float = STALL_TIMEOUT_S
    on_cut: Callable[[str], None] | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    connections: Connections | None = None
    on_refuse: Callable[[str], None] | None = None


class ViewerServer(uvicorn.Server):
    """A server that says when it listens, and where, and returns when it was told to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[str], None] | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        super().__init__(config)
        self._on_ready, self._stop = on_ready, stop

    @classmethod
    def create(
        cls,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        on_ready: Callable[[str], None] | None = None,
        options: HttpOptions | None = None,
        stop: asyncio.Event | None = None,
    ) -> ViewerServer:
        """A server for an ASGI application; arguments as those of `run_server`."""
        options = options or HttpOptions()
        tls = options.tls
        config = CuttingConfig(
            app,
            host=host,
            port=port,
            http=CuttingHttpProtocol,
            ws=CuttingWebSocketProtocol,
            # A track message is 3 kB: compressing it would cost more than sending it.
            ws_per_message_deflate=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            ssl_context_factory=None if tls is None else lambda config, default: tls,
            forwarded_allow_ips=list(options.proxies),
            timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
            access_log=False,
            log_config=None,
            server_header=False,
        )
        config.stall_timeout_s, config.on_cut = options.stall_timeout_s, options.on_cut
        config.request_timeout_s, config.connections = options.request_timeout_s, options.connections
        config.on_refuse = options.on_refuse
        return cls(config, on_ready, stop)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: uvicorn's would end the server at once, before those who ask /healthz could learn of it. Who runs the
        server hears the signals, and sets `stop`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        return await super().on_tick(counter) or (self._stop is not None and self._stop.is_set())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_ready(address_to_open("https" if self.config.is_ssl else "http", host, port))


async def run_server(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], None] | None = None,
    options: HttpOptions | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve an ASGI application until `stop` is set, then end within about two seconds.

    Args:
        app: as `stream.server.create_app` makes it.
        host, port: where to listen; port 0 takes any free one.
        on_ready: called once with the address to open, e.g. "http://127.0.0.1:8080/".
        options: how connections are served.
        stop: None: the server runs until its task is cancelled.

    Raises ConfigError, in one line, when the address cannot be bound.
    """
    with _listen(host, port) as listener:
        server = ViewerServer.create(app, host=host, port=port, on_ready=on_ready, options=options, stop=stop)
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
