"""Do the parts of SyncVIS pay? Decoders with and without them, trained and judged alike.

`python -m benchmarks.decoder_parts [--parts synchronous cascade ...] [--seeds 1 2 3] [--json FILE]`

One encoder, the shipped one, is run once over videos of the synthetic world; only decoders are trained, each from
random numbers, on the same features, with the same clips in the same order and the same number of steps. They are
judged on clips of other videos by tube AP on cells of a quarter of the input. Prints a line for each run, then a
table: mean and spread (lowest to highest) over the seeds. Runs go side by side, one thread each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.encoded_videos import HELD_OUT, Videos, encoded, flattened
from syncvis_online.checkpoint import load_model
from syncvis_online.config import ModelConfig
from syncvis_online.criterion import Criterion, CriterionConfig
from syncvis_online.data.youtube_vis import GroundTruthTube
from syncvis_online.evaluation.average_precision import tube_average_precision
from syncvis_online.evaluation.run import write_result
from syncvis_online.evaluation.tubes import PredictedTube, VideoResult
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.training.config import OptimizerConfig
from syncvis_online.training.loop import parameter_groups, rate_at
from syncvis_online.training.objective import clip_loss, sub_clips
from syncvis_online.types import LABELS, encode_mask

FRAMES, APART = 4, 2
"""Frames of a clip, and how many frames of a video (10 a second) lie between them."""
MIN_SCORE = 0.05


@dataclass(frozen=True)
class Part:
    """A decoder to train: the changes of the model's config, and the frames of the sub-clips of its loss (0: none)."""

    model: dict[str, object]
    sub_clip: int = 0


PARTS = {
    "synchronous, sub-clip losses": Part({}, sub_clip=2),
    "synchronous": Part({}),
    "without exchange": Part({"synchronize_weight": 0.0}),
    "cascade": Part({"structure": "cascade"}),
    "video queries only": Part({"structure": "video_only"}),
}


def train(part: Part, base: ModelConfig, videos: Videos, seed: int, steps: int, batch: int) -> SyncVIS:
    """A decoder of `part` after `steps` steps. Clips and their order depend on the seed alone."""
    torch.manual_seed(seed)
    model = SyncVIS(replace(base, **part.model)).train()  # type: ignore[arg-type]
    criterion = Criterion(CriterionConfig(no_object=0.2, points=0, auxiliary_pool=2))
    settings = OptimizerConfig(rate=5e-4, backbone_factor=0.0, clip_norm=0.1, warmup_steps=50, decay_from=0.3)
    optimizer = torch.optim.AdamW(parameter_groups(model, settings))
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, settings) * group["scale"]
        window, targets = videos.batch(batch, FRAMES, rng)
        features = flattened(window)
        clips = sub_clips(FRAMES, part.sub_clip, 0, rng) if part.sub_clip else []
        loss = torch.stack(list(clip_loss(model, criterion, features, targets, clips).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
    return model.eval()


@torch.inference_mode()
def judge(model: SyncVIS, videos: Videos) -> dict[str, float]:
    """Tube AP of two clips of each video, each decoded as one window."""
    results = []
    for video in range(len(videos.labels)):
        for first in (0, videos.identities.shape[1] - FRAMES):
            positions, masks, labels = videos.clip(video, first, FRAMES)
            results.append(_answer(model, videos.window([positions]), masks, labels))
    figures = tube_average_precision(results)
    return {"AP": figures["AP"], "AP50": figures["AP50"]}


def _answer(model: SyncVIS, window: FrameFeatures, truth: Tensor, labels: Tensor) -> VideoResult:
    said = model.decode(window).layers[-1].video
    probability = said.logits[0].softmax(-1)[:, :-1]
    logits = torch.einsum("nc,tchw->nthw", said.embeds[0], window.mask_features[0])
    inside = logits > 0
    quality = (logits.sigmoid() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    best, label = probability.max(-1)
    scores = best * quality
    predicted = [
        PredictedTube(j, LABELS[int(label[j])], float(scores[j]), _tube(inside[j].numpy()))
        for j in np.flatnonzero(scores.numpy() >= MIN_SCORE).tolist()
    ]
    wanted = [
        GroundTruthTube(i, LABELS[int(labels[i])], _tube(truth[i].bool().numpy())) for i in range(len(labels))
    ]
    return VideoResult(tuple(wanted), tuple(predicted), frozenset(LABELS))


def _tube(masks: NDArray[np.bool_]) -> tuple[object, ...]:
    return tuple(encode_mask(mask) if mask.any() else None for mask in masks)


def one_run(
    job: tuple[str, int], base: ModelConfig, training: Videos, held_out: Videos, steps: int, batch: int
) -> dict[str, object]:
    """Train and judge one decoder, on one thread."""
    torch.set_num_threads(1)
    name, seed = job
    began = time.perf_counter()
    model = train(PARTS[name], base, training, seed, steps, batch)
    took = time.perf_counter() - began
    return {"part": name, "seed": seed, "seconds": round(took, 1), **judge(model, held_out)}


def table(runs: Sequence[dict[str, object]]) -> str:
    """Mean and spread over the seeds, by part."""
    by_part: dict[str, list[dict[str, object]]] = defaultdict(list)
    for run in runs:
        by_part[str(run["part"])].append(run)
    lines = ["| decoder | AP | AP50 | seconds a run | seeds |", "|---|---|---|---|---|"]
    for name in PARTS:
        rows = by_part.get(name, [])
        if not rows:
            lines.append(f"| {name} | | | | |")
            continue
        cells = []
        for key in ("AP", "AP50"):
            values = [float(str(row[key])) for row in rows]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        seconds = np.mean([float(str(row["seconds"])) for row in rows])
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {seconds:.0f} | {len(rows)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--videos", type=int, default=200, help="to train on; a fifth as many to judge by")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=Path, default=Path("runs/rendered"))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    checkpoint = load_model("default")
    training = encoded(checkpoint.model, range(options.videos), options.cache, APART)
    held_out = encoded(
        checkpoint.model, range(HELD_OUT, HELD_OUT + options.videos // 5), options.cache, APART
    )
    work = partial(
        one_run,
        base=checkpoint.model.config,
        training=training,
        held_out=held_out,
        steps=options.steps,
        batch=options.batch,
    )
    jobs = [(name, seed) for seed in options.seeds for name in options.parts]
    runs: list[dict[str, object]] = []
    budget = {"steps": options.steps, "batch": options.batch, "videos": options.videos}
    parts = {name: asdict(part) for name, part in PARTS.items()}
    torch.set_num_threads(1)  # what forks after threads were used may hang
    with multiprocessing.get_context("fork").Pool(options.processes, maxtasksperchild=1) as pool:
        for run in pool.imap_unordered(work, jobs):
            print(json.dumps(run), flush=True)
            runs.append(run)
            if options.json:  # after each run: what was done is kept when the rest is not
                write_result(options.json, {"budget": budget, "parts": parts, "runs": runs})
    print(table(runs))


if __name__ == "__main__":
    main()
