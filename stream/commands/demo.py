"""`syncvis-online demo`: one camera and its viewer, without a config file."""

from __future__ import annotations

import argparse

from stream.commands import serve
from stream.commands.arguments import Subparsers, port


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
        help="rtsp://user:password@host/path, a file or a device (the synthetic camera)",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=port, help="port to listen on, 0: any free one (8080)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from stream.camera_config import CameraConfig
    from stream.config import load_config
    from syncvis_online.paths import find_config

    config = load_config(find_config("cameras", "demo"))
    if arguments.camera:
        config = config.model_copy(update={"cameras": {"camera": CameraConfig(url=arguments.camera)}})
    return serve.serve(serve.override_server(config, arguments))
