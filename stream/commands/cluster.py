"""`syncvis-online serve CONFIG --cluster ADDRESS`: a gateway of a Ray cluster, which is started where it is not there.

The gateway ends with its process; the cluster goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stream.errors import ConfigError
from stream.log import about

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.cluster.gateway.directory import Control
    from stream.cluster.spec import Spec
    from stream.config import ServeConfig

_log = logging.getLogger(__name__)


def serve_on_cluster(load: Callable[[], ServeConfig], address: str | None, *, stop: bool) -> int:
    """Serve until SIGINT or SIGTERM; the exit code. `load` reads the config, again at SIGHUP. Raises ConfigError and
    ModelError before anything is served.
    """
    from stream.listening import check_server
    from stream.log import set_up_logging

    config = load()
    if address is None:
        raise ConfigError("--stop-cluster: which one? --cluster ADDRESS says so")
    set_up_logging(config.log.level, config.log.format)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request
    if not stop:
        check_server(config.server)
    check_extra()
    import ray

    from stream.cluster import connection
    from stream.cluster.gateway.workers import trusted

    if config.cluster.tls is not None:
        trusted(config.cluster.tls)
    connection.connect(address)
    try:
        if stop:
            print(f"stopped: {connection.stop()} actors", flush=True)
        else:
            asyncio.run(_serve(config, load, address))
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


async def _serve(config: ServeConfig, load: Callable[[], ServeConfig], address: str) -> None:
    from stream.cluster.connection import RayControl, start
    from stream.cluster.gateway.app import create_gateway
    from stream.commands.reload import at_each_hangup
    from stream.commands.signals import on_signals
    from stream.commands.web import http_options, server_options
    from stream.http_server import run_server
    from stream.listening import load_certificate, tls_context

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
        tls = None if server.tls is None else tls_context(server.tls)
        http = http_options(
            server,
            tls,
            lambda transport: metrics.cut.labels(transport).inc(),
            lambda reason: metrics.refused.labels(reason).inc(),
        )

        def on_ready(address: str) -> None:
            print(f"a gateway of {len(config.cameras)} camera(s) of its config: open {address}", flush=True)

        def renew() -> None:
            if tls is not None and server.tls is not None:
                load_certificate(tls, server.tls)

        async with at_each_hangup(GatewayReload(config, load, spec, control, renew)):
            await run_server(
                app, host=server.host, port=server.port, on_ready=on_ready, options=http, stop=ending
            )


class GatewayReload:
    """Call it to have a gateway's config file read again. `config`: what it said before. Cameras are as it says then,
    but for those that were changed while they ran; where workers would have to have anything else, nothing has changed.
    """

    def __init__(
        self,
        config: ServeConfig,
        load: Callable[[], ServeConfig],
        spec: Spec,
        control: Control,
        renew: Callable[[], None],
    ) -> None:
        self._config, self._load, self._spec = config, load, spec
        self._control, self._renew = control, renew

    async def __call__(self) -> None:
        """Read it; what came of it is logged."""
        from stream.camera_store import settings_of
        from stream.cluster.gateway.directory import AwayError
        from stream.commands.reload import renew_certificate, say_loaded

        try:
            found = await asyncio.to_thread(self._load)
            self._spec.check(found)
        except ConfigError as error:
            _log.error("the config was not loaded again, nothing has changed: %s", error)
            return
        before, now = (
            {name: settings_of(each) for name, each in config.cameras.items()}
            for config in (self._config, found)
        )
        try:
            stayed = await self._control.reload(before, now)
        except AwayError as error:
            _log.error("the config was not loaded again, try once more: the cluster's controller: %s", error)
            return
        for name in stayed:
            with about(camera=name):
                _log.warning("camera %s: what was changed while it ran stays", name)
        self._config = self._config.model_copy(update={"cameras": found.cameras})
        renew_certificate(self._renew)
        say_loaded(self._config, found)
