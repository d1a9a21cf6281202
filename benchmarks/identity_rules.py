"""What counts how much in telling who is who by linear evidence (`syncvis_online.evidence.RULES`): a random search, on
tuning videos.

`python -m benchmarks.identity_rules [--model NAME] [--data SPEC ...] [--minutes M] [--seed S] [--json FILE]`

The videos are tracked once, with identities that are slots; what the slots show on every frame is kept. Then rules are
drawn around the best so far, and identities are told by them. A set of rules is worth IDF1 + AssA (at IoU 0.5, classes
not told apart) less a price for each switch of identity, summed over the data. Prints what the slots themselves, the
rules that ship, the recognizer of the model if it has one, and every better set are worth, and perfect identities,
which are the most that can be told.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import torch

from syncvis_online.checkpoint import load_model, resolve_model
from syncvis_online.evaluation.run import write_result
from syncvis_online.evidence import RULES, LinearEvidence, Weights
from syncvis_online.identities import Following
from syncvis_online.training.recognition import Recorded
from syncvis_online.training.recorded import Shot
from syncvis_online.training.telling import by_evidence, by_slots, by_truth, total

DATA = ("synthetic:long?seeds=8500-8503&frames=600", "synthetic:medium?seeds=8000-8019&frames=80")
NUMBERS = (
    *("in_sight", "away", "same_slot", "predict_s", "reach", "reach_per_s"),
    *("velocity_s", "colors_s", "looks_s", "sizes_s", "first_velocity", "heights_per_s"),
)
"""What is drawn, of the rules and of how an identity follows."""


def drawn(rules: LinearEvidence, rng: np.random.Generator, spread: float) -> LinearEvidence:
    """Rules like these, one to four of their numbers changed."""
    for name in rng.choice(NUMBERS, size=rng.integers(1, 5)).tolist():
        if name in {f.name for f in fields(Following)}:
            old = getattr(rules.following, name)
            following = replace(rules.following, **{name: _scaled(old, rng, spread)})
            rules = replace(rules, following=following)
        elif isinstance(value := getattr(rules, name), Weights):
            rules = replace(rules, **{name: _weighed_anew(value, rng, spread)})
        elif name == "same_slot":
            rules = replace(rules, same_slot=round(float(value + 2 * spread * rng.normal()), 3))
        else:
            rules = replace(rules, **{name: _scaled(value, rng, spread)})
    return rules


def _scaled(value: float, rng: np.random.Generator, spread: float) -> float:
    return round(float(value * np.exp(spread * rng.normal())), 3)


def _weighed_anew(weights: Weights, rng: np.random.Generator, spread: float) -> Weights:
    key = str(rng.choice([f.name for f in fields(Weights)]))
    old = getattr(weights, key)
    new = old + spread * rng.normal() * max(0.6, abs(old))
    # Each cue but the overlap tells against an identity, or nothing.
    new = new if key in ("bias", "overlap") else min(0.0, new)
    return replace(weights, **{key: round(float(new), 3)})


def search(data: Sequence[Sequence[Shot]], minutes: float, seed: int, keep_s: float) -> LinearEvidence:
    """The best rules found in so long."""
    rng, best = np.random.default_rng(seed), RULES
    most, words = total(data, lambda shot: by_evidence(shot, RULES, keep_s))
    print(f"as they ship: {most:.4f}: {words}")
    end, tries = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        tries += 1
        rules = drawn(best, rng, 0.8 if tries % 2 else 0.3)
        value, words = total(data, lambda shot, rules=rules: by_evidence(shot, rules, keep_s))  # type: ignore[misc]
        if value > most:
            most, best = value, rules
            print(f"try {tries}: {value:.4f}: {words}", flush=True)
    print(f"{tries} tries")
    return best


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", nargs="+", default=DATA, metavar="SPEC")
    parser.add_argument("--minutes", type=float, default=20.0, help="of searching (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep-s", type=float, default=2.0, help="how long somebody is waited for (%(default)s)"
    )
    parser.add_argument("--videos", type=Path, default=Path("runs/recognition/videos"), metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recorded = Recorded(resolve_model(arguments.model), arguments.videos, arguments.keep_s)
    data = [recorded.shots(spec) for spec in arguments.data]
    for name, tell in (("slots", by_slots), ("perfect", by_truth)):
        value, words = total(data, tell)
        print(f"{name}: {value:.4f}: {words}", flush=True)
    recognizer = load_model(arguments.model).recognizer
    if recognizer is not None:
        value, words = total(
            data,
            lambda shot: by_evidence(
                shot, recognizer, arguments.keep_s, [recognizer.looks(frame.views) for frame in shot.frames]
            ),
        )
        print(f"recognizer: {value:.4f}: {words}", flush=True)
    best = search(data, arguments.minutes, arguments.seed, arguments.keep_s)
    print(best)
    if arguments.json is not None:
        write_result(arguments.json, asdict(best))


if __name__ == "__main__":
    main()
