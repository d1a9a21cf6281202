"""`syncvis-online train CONFIG`: train a checkpoint, or go on with one, as a training config says."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Subparsers, positive_int, positive_seconds


def add_parser(commands: Subparsers) -> None:
    """The arguments of `train`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train a checkpoint", description=__doc__.partition(":")[2].strip()
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a config that ships")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where state and checkpoint go (runs/NAME)"
    )
    parser.add_argument(
        "--steps", type=positive_int, metavar="N", help="of the whole training (the config's)"
    )
    parser.add_argument(
        "--minutes",
        type=positive_seconds,
        metavar="M",
        help="end this run then; the same command goes on with it",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; print the path of the checkpoint."""
    from stream.log import set_up_logging
    from syncvis_online.training import train_from_config

    set_up_logging("info")
    path = train_from_config(
        arguments.config, output=arguments.output, steps=arguments.steps, minutes=arguments.minutes
    )
    print(path)
    return 0
