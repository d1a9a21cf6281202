"""`syncvis-online weights`: import weights of other projects, and say what a checkpoint is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from stream.commands.arguments import Subparsers
from stream.errors import ConfigError


def add_parser(commands: Subparsers) -> None:
    """The arguments of `weights import` and `weights inspect`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "weights", help="import and inspect weights", description=__doc__.partition(":")[2].strip()
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=type(parser))
    importing = actions.add_parser(
        "import", help="Mask2Former's weights, from Hugging Face or detectron2, as a checkpoint"
    )
    importing.add_argument(
        "source",
        metavar="SRC",
        help="a .safetensors, .bin, .pkl or .pth file, a folder, or a name on the Hugging Face hub",
    )
    importing.add_argument("--output", type=Path, required=True, metavar="FILE", help="e.g. coco.safetensors")
    importing.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names, one a line, in the order of the logits"
    )
    importing.set_defaults(run=run_import)
    inspecting = actions.add_parser(
        "inspect", help="config, classes, provenance and checksum of a checkpoint"
    )
    inspecting.add_argument("file", metavar="FILE", help="a checkpoint, or the name of one that ships")
    inspecting.set_defaults(run=run_inspect)


def run_import(arguments: argparse.Namespace) -> int:
    """Convert, write, and say on stderr which keys were not used. Raises ConfigError and ModelError."""
    from syncvis_online.conversion import import_weights

    labels = None
    if arguments.labels is not None:
        try:
            lines = arguments.labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--labels: cannot read {arguments.labels} ({error})") from None
        labels = [line.strip() for line in lines if line.strip()]
    conversion = import_weights(arguments.source, arguments.output, labels)
    for name in conversion.unused:
        print(f"not used: {name}", file=sys.stderr)
    for name in conversion.derived:
        print(f"not needed (an index, a counter or a constant): {name}", file=sys.stderr)
    config = conversion.config
    summary = {
        "output": str(arguments.output),
        "layout": conversion.layout,
        "backbone": config.backbone,
        "classes": len(config.labels),
        "used": len(conversion.tensors),
        "not_used": len(conversion.unused),
    }
    print(json.dumps(summary))
    return 0


def run_inspect(arguments: argparse.Namespace) -> int:
    """Print what a checkpoint is as JSON. Raises ModelError."""
    from syncvis_online.checkpoint import inspect_checkpoint

    print(json.dumps(inspect_checkpoint(arguments.file), indent=2))
    return 0
