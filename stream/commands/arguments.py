"""Arguments that several subcommands share, and the types of their values."""

from __future__ import annotations

import argparse
from typing import Any

Subparsers = Any
"""argparse's own class of a group of subparsers is private."""


def add_model_arguments(
    parser: argparse.ArgumentParser, *, engine: str = "auto", precision: str = "auto"
) -> None:
    """--model, --device, --engine and --precision, which are as given here where they are not, and --threads."""
    parser.add_argument(
        "--model",
        default="default",
        metavar="NAME_OR_PATH",
        help="a model that ships, or a checkpoint (default)",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs (auto)"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "torch", "openvino"),
        default=engine,
        help="what computes the network; auto: openvino on a processor where the extra is installed, else torch "
        f"({engine})",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default=precision,
        help=f"of the network; auto: bfloat16 where the hardware has it, else float32 ({precision})",
    )
    parser.add_argument("--threads", type=positive_int, metavar="N", help="of the processor, for the model")


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """--host, --port, --open and --log-format, each None (or False) where the config decides."""
    parser.add_argument("--host", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=port, help="port to listen on, 0: any free one (8080)")
    parser.add_argument(
        "--open", action="store_true", help="let everybody who reaches it watch, without a token"
    )
    parser.add_argument("--log-format", choices=("text", "json"), help="how it logs to stderr (text)")


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def positive_seconds(text: str) -> float:
    """A number of seconds above 0."""
    return _positive(text, "seconds")


def positive_rate(text: str) -> float:
    """A number of frames a second above 0."""
    return _positive(text, "frames a second")


def _positive(text: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of {unit} above 0")
    return value


def port(text: str) -> int:
    """A TCP port; 0 takes any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, 0 to 65535")
    return int(text)
