"""`syncvis-online serve CONFIG`: all cameras of a config, their viewer and their metrics, until told to
end. SIGHUP: the file is read again (docs/cameras.md).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.commands.arguments import Subparsers, add_server_arguments

if TYPE_CHECKING:
    from stream.app import Service
    from stream.camera_store import CameraStore
    from stream.commands.web import WebServer
    from stream.config import ServeConfig
    from stream.identities import IdLedger
    from stream.roster import Roster

_log = logging.getLogger(__name__)

SERVER_TIMEOUT_S = 1.0
"""What the HTTP server gets, once the cameras have ended, before it is cancelled."""


def add_parser(commands: Subparsers) -> None:
    """The arguments of `serve`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve", help="serve the cameras of a config file", description=__doc__.partition(":")[2].strip()
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a config that ships")
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="serve on the Ray cluster at HOST:PORT, or the one of this machine (auto): docs/scale.md",
    )
    parser.add_argument(
        "--stop-cluster", action="store_true", help="with --cluster: end what runs there, cameras and all"
    )
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises ConfigError and ModelError before anything is started."""
    from stream.config import load_config
    from syncvis_online.paths import find_config

    path = arguments.config
    if not path.endswith((".yaml", ".yml")):
        path = find_config("cameras", path)

    def load() -> ServeConfig:
        return override_server(load_config(path), arguments)

    if arguments.cluster is not None or arguments.stop_cluster:
        from stream.commands.cluster import serve_on_cluster

        return serve_on_cluster(load, arguments.cluster, stop=arguments.stop_cluster)
    return serve(load(), load)


def override_server(config: ServeConfig, arguments: argparse.Namespace) -> ServeConfig:
    """The config with --host, --port, --open and --log-format where they were given."""
    given = {key: getattr(arguments, key) for key in ("host", "port") if getattr(arguments, key) is not None}
    if arguments.open:
        given["open"] = True
    update: dict[str, Any] = {"server": config.server.model_copy(update=given)}
    if arguments.log_format is not None:
        update["log"] = config.log.model_copy(update={"format": arguments.log_format})
    return config.model_copy(update=update)


def serve(config: ServeConfig, load: Callable[[], ServeConfig] | None = None) -> int:
    """Set up logging and serve a config to its end; the exit code. `load` reads it again, at SIGHUP."""
    from prometheus_client import disable_created_metrics

    from stream.listening import check_server
    from stream.log import set_up_logging
    from stream.memory import share_heaps

    share_heaps()
    set_up_logging(config.log.level, config.log.format)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a fifth of all series, of no use to Prometheus
    check_server(config.server)
    asyncio.run(_serve(config, load or (lambda: config)))
    return 0


async def _serve(config: ServeConfig, load: Callable[[], ServeConfig]) -> None:
    from stream.app import Service
    from stream.commands.models import Models
    from stream.commands.reload import reloading
    from stream.commands.signals import on_signals
    from stream.commands.web import WebServer
    from stream.memory import trimmed
    from stream.mqtt import mqtt_events
    from stream.roster import Roster
    from stream.sources import cool_down, warm_up
    from stream.tracing import tracing
    from stream.webrtc.late_retransmission import expect_late_retransmissions

    expect_late_retransmissions(asyncio.get_running_loop())
    stop, hurry = asyncio.Event(), asyncio.Event()
    told_s: list[float] = []

    def tell() -> None:
        if stop.is_set():
            hurry.set()
        told_s.append(time.monotonic())
        stop.set()
        models.end()

    web = WebServer(config.server, _state_dir(config))
    ledger = _ledger(config)
    store = _store(config)
    models = Models(ledger)
    with on_signals(tell):
        await asyncio.to_thread(warm_up)
        try:
            engine = await models.load(config)
            if not stop.is_set():
                async with (
                    trimmed(),
                    tracing(config.tracing) as traces,
                    Service(config, engine, ledger=ledger, traces=traces) as service,
                    mqtt_events(config.mqtt, service.events),
                    reloading(
                        *(roster := Roster(service, store), config, load),
                        renew=web.renew_certificate,
                        reload_model=partial(models.reload, service),
                    ),
                ):
                    await roster.restore()
                    await _serve_http(web, service, roster, stop, hurry)
        finally:
            await asyncio.to_thread(cool_down)
            ledger.close()
            if store is not None:
                store.close()
            if told_s:
                _log.info("all is closed, %.2f s after the signal", time.monotonic() - told_s[0])


def _ledger(config: ServeConfig) -> IdLedger:
    from stream.identities import IdLedger

    folder = _state_dir(config)
    return IdLedger() if folder is None else IdLedger.open(folder, config.cameras)


def _store(config: ServeConfig) -> CameraStore | None:
    from stream.camera_store import CameraStore

    folder = _state_dir(config)
    return CameraStore(folder) if config.persist_cameras and folder is not None else None


def _state_dir(config: ServeConfig) -> Path | None:
    from stream.identities import default_state_dir

    if config.state_dir is None:
        return None
    return default_state_dir() if config.state_dir == "auto" else Path(config.state_dir)


async def _serve_http(
    web: WebServer, service: Service, roster: Roster, stop: asyncio.Event, hurry: asyncio.Event
) -> None:
    """Run the HTTP server until `stop`; let it drain, less long where `hurry` is set; then end cameras and server side
    by side.
    """
    server = asyncio.create_task(web.run(service, roster), name="http server")
    stopping = asyncio.create_task(stop.wait(), name="signal")
    try:
        await asyncio.wait([server, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await web.drain(hurry)
        # Ending the hubs ends the WebSockets that the server waits for.
        await service.close()
        await asyncio.wait([server], timeout=SERVER_TIMEOUT_S)
    finally:
        stopping.cancel()
        server.cancel()
        await asyncio.wait([server, stopping])
    if not server.cancelled():
        server.result()
