"""`syncvis-online eval --data SPEC`: AP and identity figures of a model on videos with known truth."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from stream.commands.arguments import Subparsers, add_model_arguments


def add_parser(commands: Subparsers) -> None:
    """The arguments of `eval`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "eval", help="measure a model", description=__doc__.partition(":")[2].strip()
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="SPEC",
        help="a YouTube-VIS JSON file, or synthetic:LEVEL?seeds=A-B&frames=N",
    )
    parser.add_argument(
        "--mode",
        choices=("streaming", "offline"),
        default="streaming",
        help="streaming: what was said of a frame when it was answered; offline: what the last window that holds "
        "it says of it (streaming)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the figures as JSON on stdout. Raises ConfigError, DataError and ModelError."""
    from stream.commands.outputs import PartialFile
    from syncvis_online.evaluation.run import evaluate
    from syncvis_online.online import load_tracker

    part = PartialFile(arguments.json) if arguments.json is not None else None
    done = False
    try:
        tracker = load_tracker(arguments.model, device=arguments.device, threads=arguments.threads)
        figures = evaluate(arguments.data, lambda: tracker, mode=arguments.mode, progress=sys.stderr.isatty())
        text = json.dumps({"model": arguments.model, **figures}, indent=2)
        if part is not None:
            part.path.write_text(text + "\n", encoding="utf-8")
        done = True
    finally:
        if part is not None:
            part.close(keep=done)
    print(text)
    return 0
