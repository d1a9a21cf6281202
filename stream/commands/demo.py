"""`syncvis-online demo`: one camera and its viewer, without a config file."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from stream.commands import serve
from stream.commands.arguments import Subparsers, add_server_arguments

if TYPE_CHECKING:
    from stream.config import ServeConfig

CAMERA_VARIABLE = "SYNCVIS_CAMERA"


def add_parser(commands: Subparsers) -> None:
    """The arguments of `demo`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="show one camera, or the built-in synthetic one",
        description=__doc__.partition(":")[2].strip(),
    )
    parser.add_argument(
        "--camera",
        metavar="URL",
        help="rtsp://user:password@host/path, a file or a device (the synthetic camera); or in the environment, as "
        f"{CAMERA_VARIABLE}, where no list of processes shows its password",
    )
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from stream.camera_config import CameraConfig
    from stream.config import load_config
    from syncvis_online.paths import find_config

    config = load_config(find_config("cameras", "demo"))
    if camera := arguments.camera or os.environ.get(CAMERA_VARIABLE):
        config = config.model_copy(update={"cameras": {"camera": CameraConfig(url=camera)}})
    return serve.serve(_with_token(serve.override_server(config, arguments)))


def _with_token(config: ServeConfig) -> ServeConfig:
    """A demo that the network reaches asks for a token, made for this once and printed, unless it is open."""
    from stream.listening import is_loopback
    from stream.tokens import hashed, make_token

    server = config.server
    if server.open or is_loopback(server.host):
        return config
    token = make_token()
    print(f"who watches needs this token: {token}", flush=True)
    return config.model_copy(update={"server": server.model_copy(update={"tokens": (hashed(token),)})})
