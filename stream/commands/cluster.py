"""`syncvis-online serve CONFIG --cluster ADDRESS`: a gateway of a Ray cluster, which is started where it is not there.

The gateway ends with its process; the cluster goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stream.errors import ConfigError

if TYPE_CHECKING:
    from stream.config import ServeConfig

_log = logging.getLogger(__name__)


def serve_on_cluster(config: ServeConfig, address: str | None, *, stop: bool) -> int:
    """Serve until SIGINT or SIGTERM; the exit code. Raises ConfigError and ModelError before anything is served."""
    from stream.listening import check_server
    from stream.log import set_up_logging

    if address is None:
        raise ConfigError("--stop-cluster: which one? --cluster ADDRESS says so")
    set_up_logging(config.log.level, config.log.format)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request
    if not stop:
        check_server(config.server)
    check_extra()
    import ray

    from stream.cluster import connection

    connection.connect(address)
    try:
        if stop:
            print(f"stopped: {connection.stop()} actors", flush=True)
        else:
            asyncio.run(_serve(config, address))
    finally:
        ray.shutdown()
    return 0


def check_extra() -> None:
    """Raises ConfigError where what a cluster needs is not installed."""
    try:
        import httpx  # noqa: F401
        import ray  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--cluster needs the extra: pip install 'syncvis-online[cluster]' ({error})"
        ) from None


async def _serve(config: ServeConfig, address: str) -> None:
    from stream.cluster.connection import RayControl, start
    from stream.cluster.gateway.app import create_gateway
    from stream.commands.signals import on_signals
    from stream.commands.web import http_options, server_options
    from stream.http_server import run_server
    from stream.listening import tls_context

    ending, control = asyncio.Event(), RayControl(address)
    with on_signals(ending.set):
        starting, told = asyncio.create_task(start(config, control)), asyncio.create_task(ending.wait())
        await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if ending.is_set():
            starting.cancel()
            return
        spec = starting.result()
        server = config.server
        app = create_gateway(config, spec, control, server_options(server, spec.cookie_key))
        metrics = app.state.metrics
        http = http_options(
            server,
            None if server.tls is None else tls_context(server.tls),
            lambda transport: metrics.cut.labels(transport).inc(),
            lambda reason: metrics.refused.labels(reason).inc(),
        )

        def on_ready(address: str) -> None:
            print(f"a gateway of {len(config.cameras)} camera(s) of its config: open {address}", flush=True)

        await run_server(
            app, host=server.host, port=server.port, on_ready=on_ready, options=http, stop=ending
        )
