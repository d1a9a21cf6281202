"""`syncvis-online train-recognition MODEL`: train what objects are known again by, for a checkpoint's own queries."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream.commands.arguments import Subparsers, positive_int, positive_seconds

DATA = (
    *("synthetic:long?seeds=100-131&frames=300", "synthetic:medium?seeds=200-229&frames=80"),
    *("synthetic:long?seeds=140-145&frames=300&fps=25", "synthetic:long?seeds=150-155&frames=150&fps=5"),
)
TUNING = ("synthetic:long?seeds=8500-8503&frames=600", "synthetic:medium?seeds=8000-8019&frames=80")


def add_parser(commands: Subparsers) -> None:
    """The arguments of `train-recognition`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train-recognition",
        help="train what objects are known again by",
        description=__doc__.partition(":")[2].strip(),
    )
    parser.add_argument("model", metavar="MODEL", help="a checkpoint, or the name of one that ships")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the checkpoint with it")
    parser.add_argument("--data", nargs="+", default=DATA, metavar="SPEC", help="videos (%(default)s)")
    parser.add_argument(
        "--tuning", nargs="*", default=TUNING, metavar="SPEC", help="videos to judge it on (%(default)s)"
    )
    parser.add_argument(
        "--videos",
        type=Path,
        default=Path("runs/recognition/videos"),
        metavar="DIR",
        help="tracked videos are kept there, and not tracked again (%(default)s)",
    )
    parser.add_argument(
        "--keep-s",
        type=positive_seconds,
        default=6.0,
        metavar="S",
        help="for so long somebody is waited for: `reidentify_s` (%(default)s)",
    )
    parser.add_argument(
        "--steps", type=positive_int, default=2500, metavar="N", help="of contrast (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; print how it goes, and the path of the checkpoint."""
    from syncvis_online.training.recognition import RecognitionTraining, train_recognizer

    training = RecognitionTraining(
        data=tuple(arguments.data),
        tuning=tuple(arguments.tuning),
        keep_s=arguments.keep_s,
        appearance_steps=arguments.steps,
        seed=arguments.seed,
    )
    train_recognizer(arguments.model, arguments.output, training, arguments.videos)
    print(arguments.output)
    return 0
