"""The HTTP server of `serve`: what a config says of it, as what serves it takes it.

Owns the translation, and the certificate. Does not own the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from stream import memory
from stream.app import Service
from stream.clients import ClientLimits, Connections
from stream.cookie_key import load_cookie_key
from stream.http_server import HttpOptions, run_server
from stream.listening import is_loopback, load_certificate, tls_context
from stream.roster import Roster
from stream.server import ServerOptions, create_app
from stream.server_config import ServerConfig, WebRtcConfig
from stream.webrtc.ice import LOOPBACK, IceOptions, TurnServer
from stream.webrtc.sessions import SessionLimits

_log = logging.getLogger(__name__)


class WebServer:
    """`state_dir`: where the key of cookies is kept; None: it ends with the process. `on_ready`: told the address once
    it listens, where not a person is. Raises ConfigError.
    """

    def __init__(
        self,
        config: ServerConfig,
        state_dir: Path | None,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        self._config, self._on_ready = config, on_ready
        self._stop = asyncio.Event()
        self._app: FastAPI | None = None
        self._tls = None if config.tls is None else tls_context(config.tls)
        keep = state_dir is not None and config.tokens
        self._cookie_key = load_cookie_key(state_dir) if state_dir is not None and keep else None

    def renew_certificate(self) -> None:
        """Serve those who connect from now on with the certificate that is in its files now. Raises ConfigError, and
        nothing has changed.
        """
        if self._tls is not None and self._config.tls is not None:
            load_certificate(self._tls, self._config.tls)

    async def run(self, service: Service, roster: Roster) -> None:
        """Serve until `drain` has come to its end. Raises ConfigError when the address cannot be bound."""
        config = self._config

        def on_ready(address: str) -> None:
            memory.settle()
            if self._on_ready is not None:
                self._on_ready(address)
                return
            everywhere = "" if is_loopback(config.host) else ", or this machine's name from elsewhere"
            print(f"serving {len(service.cameras)} camera(s): open {address}{everywhere}", flush=True)

        http = http_options(config, self._tls, service.subscriber_cut, service.request_refused)
        app = self._app = create_app(service, server_options(config, self._cookie_key), roster)
        await run_server(
            app, host=config.host, port=config.port, on_ready=on_ready, options=http, stop=self._stop
        )

    async def drain(self, hurry: asyncio.Event) -> None:
        """Say in /healthz that the end is near and take no more WebRTC sessions, for `drain_s` or until `hurry` is
        set; then tell `run` to end.
        """
        if self._app is not None:
            self._app.state.closing = True
        drain_s = self._config.drain_s
        if drain_s:
            _log.info("no more sessions; all ends in %g s, or at the next signal", drain_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), drain_s)
        self._stop.set()


def http_options(
    config: ServerConfig,
    tls: ssl.SSLContext | None,
    on_cut: Callable[[str], None] | None = None,
    on_refuse: Callable[[str], None] | None = None,
) -> HttpOptions:
    """How a config says that connections are served."""
    return HttpOptions(
        tls=tls,
        proxies=config.proxies,
        stall_timeout_s=config.stall_timeout_s,
        on_cut=on_cut,
        request_timeout_s=config.limits.request_timeout_s,
        connections=Connections(config.limits.connections, ("127.0.0.0/8", "::1", *config.proxies)),
        on_refuse=on_refuse,
    )


def server_options(config: ServerConfig, cookie_key: bytes | None) -> ServerOptions:
    """What a config says that viewers get."""
    limits, here_only = config.limits, is_loopback(config.host)
    own_names = ("localhost", "127.0.0.1", "[::1]", config.host) if here_only else None
    return ServerOptions(
        frame_stamp=config.frame_stamp,
        ice=_ice_options(config.webrtc, LOOPBACK if here_only else None),
        limits=SessionLimits(
            viewers=config.webrtc.viewers,
            publishers=config.webrtc.publishers,
            of_client=limits.sessions,
        ),
        origins=config.origins,
        tokens=config.tokens,
        publish_tokens=config.publish_tokens,
        admin_tokens=config.admin_tokens,
        allowed_hosts=config.allowed_hosts or own_names,
        cookie_key=cookie_key,
        clients=ClientLimits(limits.requests_per_s, limits.burst, limits.connections),
    )


def _ice_options(config: WebRtcConfig, addresses: tuple[str, ...] | None) -> IceOptions:
    turn = None if config.turn is None else TurnServer(**config.turn.model_dump())
    return IceOptions(
        addresses=config.addresses or addresses,
        ports=config.ports,
        advertised=config.advertised,
        stun=config.stun,
        turn=turn,
    )
