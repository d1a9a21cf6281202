"""What each step of carrying queries from window to window is worth: GenVIS's ladder, on our data.

`python -m benchmarks.carrying [--rows NAME ...] [--seeds 1] [--steps N] [--json FILE]`

As in `decoder_parts`, one encoder, the shipped one, is run once, and decoders alone are trained from random numbers on
its features: here on rollouts of windows of two frames, each row with as many windows a step and as many steps as the
others. They are judged as trackers, on videos of other seeds: streaming, the same thresholds for all. A decoder
that is trained on single windows is also judged with the associations that need no carrying, which is what a user
would do with it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.encoded_videos import FPS, HELD_OUT, Videos, encoded, flattened
from benchmarks.endless import Stream
from syncvis_online.checkpoint import Checkpoint, load_model
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.criterion import Criterion, CriterionConfig
from syncvis_online.data.youtube_vis import GroundTruthTube
from syncvis_online.evaluation.run import judge, write_result
from syncvis_online.evaluation.tubes import VideoResult, predicted_tubes
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker
from syncvis_online.targets import Targets
from syncvis_online.training.config import OptimizerConfig
from syncvis_online.training.loop import parameter_groups, rate_at
from syncvis_online.training.objective import carried_loss
from syncvis_online.types import LABELS, FrameTracks, encode_mask

WINDOW = 2
WINDOWS_A_STEP = 10
TRACKER = TrackerConfig(
    window_frames=WINDOW, birth_score=0.3, keep_score=0.3, max_lost_s=0.15, reidentify_s=0.0
)
COLUMNS = ("HOTA", "AssA", "DetA", "IDF1", "IDSW", "AP", "AP50")


@dataclass(frozen=True)
class Row:
    """A decoder to train: windows of a rollout, whether instances that come later are labelled (UVLA), the stride, and
    changes of the model's config; and the associations that it is judged with.
    """

    windows: int = 5
    unified: bool = True
    stride: int = 1
    model: dict[str, Any] = field(default_factory=dict)
    associations: tuple[str, ...] = ("propagate",)


ROWS = {
    "no correspondence": Row(windows=1, associations=("propagate", "cosine", "iou")),
    "two windows": Row(windows=2, unified=False),
    "five windows": Row(unified=False),
    "five windows, UVLA": Row(),
    "five windows, UVLA, memory": Row(model={"memory_entries": 16}),
    "the same, stride 2": Row(model={"memory_entries": 16}, stride=2),
}


def batch_of(videos: Videos, row: Row, rng: np.random.Generator) -> tuple[FrameFeatures, Targets]:
    """Random rollouts as features and targets."""
    frames = WINDOW + (row.windows - 1) * row.stride
    window, targets = videos.batch(WINDOWS_A_STEP // row.windows, frames, rng)
    if not row.unified:
        targets = of_the_first_window(targets)
    return window, targets


def of_the_first_window(targets: Targets) -> Targets:
    """Only the instances that the first window shows; where the others are, nothing is counted."""
    later = ~targets.present()[..., :WINDOW].any(-1)  # (B, I)
    hidden = (targets.masks * later[..., None, None, None]).amax(1)
    return replace(
        targets,
        labels=targets.labels.masked_fill(later, -1),
        masks=targets.masks * ~later[..., None, None, None],
        valid=targets.valid * (hidden == 0),
    )


def train(row: Row, base: ModelConfig, videos: Videos, seed: int, steps: int) -> SyncVIS:
    """A decoder after `steps` steps. Clips depend on the seed and on the length of the rollouts."""
    torch.manual_seed(seed)
    model = SyncVIS(replace(base, **{"memory_entries": 0, **row.model})).train()
    criterion = Criterion(CriterionConfig(no_object=0.2, points=0, auxiliary_pool=2))
    settings = OptimizerConfig(rate=5e-4, backbone_factor=0.0, clip_norm=0.1, warmup_steps=50, decay_from=0.3)
    optimizer = torch.optim.AdamW(parameter_groups(model, settings))
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, settings) * group["scale"]
        window, targets = batch_of(videos, row, rng)
        terms = carried_loss(model, criterion, flattened(window), targets, WINDOW, row.windows, row.stride)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
    return model.eval()


@torch.inference_mode()
def score(model: SyncVIS, videos: Videos, association: str, stride: int) -> dict[str, float]:
    """Figures of the model as a tracker of whole videos, streaming, on cells of a quarter of the input."""
    config = replace(TRACKER, association=association, stride=stride)  # type: ignore[arg-type]
    tracker = OnlineTracker(Checkpoint(model, config, {}), config)
    results = []
    length, h, w = videos.identities.shape[1:]
    for video in range(len(videos.labels)):
        positions, masks, labels = videos.clip(video, 0, length)
        stream = Stream(tracker, FPS, (h, w))
        said: list[FrameTracks] = []
        for position in positions:
            answered = stream.push(flattened(videos.window([np.array([position])])))
            said += [FrameTracks(len(said) + i, tracks) for i, tracks in enumerate(answered)]
        tubes = predicted_tubes(said, length, (h, w))
        results.append(VideoResult(_truth(masks, labels), tubes, frozenset(LABELS)))
    figures = judge(results)
    return {key: round(float(figures[key]), 4) for key in COLUMNS}


def _truth(masks: Tensor, labels: Tensor) -> tuple[GroundTruthTube, ...]:
    return tuple(
        GroundTruthTube(
            i + 1,
            LABELS[int(label)],
            tuple(encode_mask(mask) if mask.any() else None for mask in masks[i].bool().numpy()),
        )
        for i, label in enumerate(labels)
    )


def one_run(
    job: tuple[str, int], base: ModelConfig, training: Videos, held_out: Videos, steps: int
) -> list[dict[str, Any]]:
    """Train one decoder on one thread, and judge it with each of its row's associations."""
    torch.set_num_threads(1)
    name, seed = job
    row = ROWS[name]
    began = time.perf_counter()
    model = train(row, base, training, seed, steps)
    took = round(time.perf_counter() - began, 1)
    return [
        {
            "row": name,
            "association": how,
            "seed": seed,
            "seconds": took,
            **score(model, held_out, how, row.stride),
        }
        for how in row.associations
    ]


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The runs in the order of the ladder."""
    order = {name: i for i, name in enumerate(ROWS)}
    rows = sorted(runs, key=lambda run: (order[run["row"]], run["association"], run["seed"]))
    return tabulate(rows, headers="keys", tablefmt="github")


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--videos", type=int, default=150, help="to train on; a fifth as many to judge by")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("runs/rendered"))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    checkpoint = load_model("default")
    training = encoded(checkpoint.model, range(options.videos), options.cache)
    held_out = encoded(checkpoint.model, range(HELD_OUT, HELD_OUT + options.videos // 5), options.cache)
    work = partial(
        one_run, base=checkpoint.model.config, training=training, held_out=held_out, steps=options.steps
    )
    jobs = [(name, seed) for seed in options.seeds for name in options.rows]
    runs: list[dict[str, Any]] = []
    about = {
        "steps": options.steps,
        "windows_a_step": WINDOWS_A_STEP,
        "videos": options.videos,
        "rows": {name: asdict(row) for name, row in ROWS.items()},
    }
    torch.set_num_threads(1)  # what forks after threads were used may hang
    with multiprocessing.get_context("fork").Pool(options.processes, maxtasksperchild=1) as pool:
        for found in pool.imap_unordered(work, jobs):
            for run in found:
                print(json.dumps(run), flush=True)
            runs += found
            if options.json:  # after each run: what was done is kept when the rest is not
                write_result(options.json, {**about, "runs": runs})
    print(table(runs))


if __name__ == "__main__":
    main()
