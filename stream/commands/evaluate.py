"""`syncvis-online eval --data SPEC`: AP and identity figures of a model on videos with known truth."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from stream.commands.arguments import Subparsers, add_model_arguments, positive_rate
from syncvis_online.errors import ConfigError


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
        choices=("streaming", "offline", "live"),
        default="streaming",
        help="streaming: what was said of a frame when it was answered; offline: what the last window that holds "
        "it says of it; live: what was known at the moment of each frame, with the video played at its own pace "
        "through the whole pipeline, so that being late costs accuracy (streaming)",
    )
    parser.add_argument(
        "--rate",
        type=positive_rate,
        metavar="FPS",
        help="with --mode live: look at no more frames a second than this (all)",
    )
    parser.add_argument(
        "--association",
        metavar="NAME",
        help="how identities go from window to window: propagate, propagate_iou, cosine, iou, graph, or bytetrack, "
        "which follows boxes (the checkpoint's own)",
    )
    parser.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the tracker's config, such as max_lost_s=1.0; can be given several times (the checkpoint's own)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    add_model_arguments(parser, engine="torch", precision="float32")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the figures as JSON on stdout. Raises ConfigError, DataError and ModelError."""
    from stream.commands.outputs import PartialFile
    from stream.engine import TrackerEngine
    from stream.live_evaluation import LiveTracker
    from syncvis_online.evaluation.bytetrack import ByteTrackVideoTracker
    from syncvis_online.evaluation.run import VideoTracker, evaluate
    from syncvis_online.online import Mode, load_tracker

    part = PartialFile(arguments.json) if arguments.json is not None else None
    done = False
    try:
        settings = _settings(arguments.tracker)
        boxes = arguments.association == "bytetrack"
        if boxes and arguments.mode == "live":
            raise ConfigError("--association bytetrack: only compared with, so not with --mode live")
        if arguments.rate is not None and arguments.mode != "live":
            raise ConfigError("--rate: only with --mode live")
        if arguments.association is not None and not boxes:
            settings["association"] = arguments.association
        loaded = load_tracker(
            arguments.model,
            device=arguments.device,
            engine=arguments.engine,
            precision=arguments.precision,
            threads=arguments.threads,
            settings=settings,
        )
        live = LiveTracker(TrackerEngine(loaded), arguments.rate) if arguments.mode == "live" else None
        tracker: VideoTracker = live or (ByteTrackVideoTracker(loaded) if boxes else loaded)
        mode: Mode = "offline" if arguments.mode == "offline" else "streaming"
        figures = evaluate(arguments.data, lambda: tracker, mode=mode, progress=sys.stderr.isatty())
        if live is not None:
            figures |= {"mode": "live", "live": live.figures()}
        said = {
            "model": arguments.model,
            "engine": str(loaded.runtime.info),
            "association": "bytetrack" if boxes else loaded.config.association,
            "tracker": settings,
        }
        text = json.dumps({**said, **figures}, indent=2)
        if part is not None:
            part.path.write_text(text + "\n", encoding="utf-8")
        done = True
    finally:
        if part is not None:
            part.close(keep=done)
    print(text)
    return 0


def _settings(texts: list[str]) -> dict[str, Any]:
    """The tracker's settings of "KEY=VALUE" texts; values as in YAML. Raises ConfigError for another form."""
    settings = {}
    for text in texts:
        key, sign, value = text.partition("=")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            sign = ""
        if not sign:
            raise ConfigError(f"--tracker: '{text}' is not KEY=VALUE")
    return settings
