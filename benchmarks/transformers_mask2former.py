"""The same Mask2Former weights in `transformers`, frame by frame, and here, imported: milliseconds a frame.

    python -m benchmarks.transformers_mask2former [--backbone resnet50|swin_tiny] [--checkpoint FOLDER] [--rounds 6]
        [--threads 1] [--json FILE] [--plot FILE]

`transformers` runs as MinVIS does: each frame by itself, queries matched with those of the frame before by the cosine
of their embeddings (Hungarian). Ours are the weights as `syncvis-online weights import` writes them, tracked as that
checkpoint says. Both get the same tensor, a frame of 640x360 as our model takes it, have one threshold, and give
run-length masks of 640x360 on the host; what comes after mask logits is one code. `post_process` is that of
`transformers` instead. Without --checkpoint the weights are random, of the published size, with class scores
that tell ten queries from the rest. The systems take turns, a frame each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from tabulate import tabulate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.frame_by_frame import FrameByFrame
from benchmarks.report import add_outputs, bars
from benchmarks.side_by_side import Ratio, Spent, in_turn, machine, summary, timed
from syncvis_online.checkpoint import load_model
from syncvis_online.conversion import import_weights
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.evaluation.run import write_result
from syncvis_online.folding import fold_batch_norms
from syncvis_online.online import OnlineTracker
from syncvis_online.state import TrackerState
from syncvis_online.types import Image, Track

SIZE, SEED, FPS = (360, 640), 9000, 25
SHORT_SIDE = 352
"""640x360 is encoded as 608x352: multiples of 32."""
INSTANCES = 10
AIM = 1.5
THEIRS, POST_PROCESS, OURS = "transformers", "transformers, its post_process", "ours"


def random_weights(backbone: str, **sizes: Any) -> nn.Module:
    """transformers' model with weights by a fixed seed, in its published size but for `sizes` of its config."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        ResNetConfig,
        SwinConfig,
    )

    stages = ["stage1", "stage2", "stage3", "stage4"]
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=ResNetConfig(out_features=stages)
        if backbone == "resnet50"
        else SwinConfig(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], out_features=stages),
        num_labels=80,
        **sizes,
    )
    model = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight.normal_(std=0.3)  # or all queries would be as likely as one another
    return model


class Imported:
    """Ours: a stream tracked with the imported weights."""

    def __init__(self, tracker: OnlineTracker, size: tuple[int, int]) -> None:
        self.tracker, self._size = tracker, size
        self._state: TrackerState = tracker.initial_state()
        self._frames = 0

    def __call__(self, image: Image) -> tuple[Track, ...]:
        """The tracks of the next frame."""
        features = self.tracker.encode(self.tracker.prepare(image))
        answer = self.tracker.answer([features], [self._frames / FPS], 1, self._state, self._size)
        self._state, self._frames = answer.state, self._frames + 1
        return answer.tracks[0]


def imported_tracker(model: Any, short_side: int, threshold: float, device: str = "cpu") -> OnlineTracker:
    """The tracker of the checkpoint that the importer makes of transformers' files, with one threshold for all."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = Path(folder) / "imported.safetensors"
        import_weights(folder, path)
        checkpoint = load_model(str(path))
    checkpoint.model.config = replace(checkpoint.model.config, short_side=short_side)
    fold_batch_norms(checkpoint.model)
    # What overlaps is answered by transformers too.
    settings = replace(checkpoint.tracker, birth_score=threshold, keep_score=threshold, duplicate_iou=1.0)
    return OnlineTracker(checkpoint, settings, device)


def systems(
    model: Any, image: Image, short_side: int = SHORT_SIDE, device: str = "cpu"
) -> dict[str, FrameByFrame | Imported]:
    """Each system, new, with the threshold that parts the ten best queries on this picture from the rest."""
    size = image.shape[:2]
    model = model.to(device).eval().requires_grad_(False)
    tracker = imported_tracker(model, short_side, 1.0, device)
    tracker.model.requires_grad_(False)
    theirs = partial(FrameByFrame, model, tracker.prepare, tracker.labels, size)
    scores = theirs(0.0).scores(image)
    threshold = float(sum(scores[INSTANCES - 1 : INSTANCES + 1]) / 2)
    config = replace(tracker.config, birth_score=threshold, keep_score=threshold)
    tracker.config = tracker.slots.config = config
    return {
        THEIRS: theirs(threshold),
        POST_PROCESS: theirs(threshold, own_post_process=True),
        OURS: Imported(tracker, size),
    }


@contextmanager
def stage_times(modules: dict[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Processor time in seconds that passes in each of some modules until the end; they must not hold one another."""
    spent, began = dict.fromkeys(modules, 0.0), dict.fromkeys(modules, 0.0)

    def enter(name: str, *_: object) -> None:
        began[name] = time.process_time()

    def leave(name: str, *_: object) -> None:
        spent[name] += time.process_time() - began[name]

    hooks = [module.register_forward_pre_hook(partial(enter, name)) for name, module in modules.items()]
    hooks += [module.register_forward_hook(partial(leave, name)) for name, module in modules.items()]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def modules_of(system: FrameByFrame | Imported) -> dict[str, nn.Module]:
    """Backbone, pixel decoder and transformer decoder of either."""
    if isinstance(system, Imported):
        model = system.tracker.model
        return {
            "backbone": model.backbone,
            "pixel decoder": model.pixel_decoder,
            "decoder": model.decoder,
        }
    inner = system.model.model
    pixel = inner.pixel_level_module
    return {"backbone": pixel.encoder, "pixel decoder": pixel.decoder, "decoder": inner.transformer_module}


def measured(
    found: dict[str, FrameByFrame | Imported], images: list[Image], tell: Callable[[str, Spent], None]
) -> dict[str, Any]:
    """A row for each system, and ratios of theirs over ours: one frame each a round; the first only warms up."""
    rows: dict[str, Any] = {}
    answered = {name: 0 for name in found}
    stages: dict[str, dict[str, list[float]]] = {name: {} for name in found}
    for name, system in found.items():
        with FlopCounterMode(display=False) as counter:
            system(images[0])
        rows[name] = {"gflop": round(counter.get_total_flops() / 1e9, 1)}
    ahead = {name: iter(images[1:]) for name in found}

    def once(name: str) -> Spent:
        def work() -> None:
            answered[name] += len(found[name](next(ahead[name])))

        with stage_times(modules_of(found[name])) as spent:
            took = timed(work)
        for stage, seconds in spent.items():
            stages[name].setdefault(stage, []).append(1000 * seconds)
        return took

    rounds = len(images) - 1
    spent = in_turn({name: partial(once, name) for name in found}, rounds, tell)
    for name, row in rows.items():
        row |= summary(spent[name])
        row["masks_a_frame"] = round(answered[name] / rounds, 1)
        row["gflop_per_cpu_s"] = round(1000 * row["gflop"] / row["cpu_ms"], 1)
        row["stages_cpu_ms"] = {
            stage: round(sorted(each)[rounds // 2], 1) for stage, each in stages[name].items()
        }
    ratios = {
        f"{name} / ours": {
            measure: asdict(Ratio.of(spent[name], spent[OURS], measure)) for measure in ("cpu_ms", "wall_ms")
        }
        for name in found
        if name != OURS
    }
    return {"rows": rows, "ratios": ratios}


def table(result: dict[str, Any]) -> str:
    """The rows of one device as text."""
    body = [
        [
            name,
            row["gflop"],
            row["cpu_ms"],
            row["wall_ms"],
            row["masks_a_frame"],
            row["gflop_per_cpu_s"],
            ", ".join(f"{stage} {value:.0f}" for stage, value in row["stages_cpu_ms"].items()),
        ]
        for name, row in result["rows"].items()
    ]
    heads = [
        "system",
        "GFLOP",
        "cpu ms/frame",
        "wall ms/frame",
        "masks",
        "GFLOP per cpu s",
        "stages, cpu ms",
    ]
    lines = [tabulate(body, headers=heads, disable_numparse=True)]
    for name, of in result["ratios"].items():
        cpu, wall = (Ratio(**of[measure]) for measure in ("cpu_ms", "wall_ms"))
        lines.append(f"{name}: processor time {cpu}, wall {wall}")
    return "\n".join(lines)


def weights(arguments: argparse.Namespace) -> Any:
    """Those of --checkpoint, a folder of transformers, or random ones."""
    if arguments.checkpoint is None:
        return random_weights(arguments.backbone)
    from transformers import Mask2FormerForUniversalSegmentation

    return Mask2FormerForUniversalSegmentation.from_pretrained(arguments.checkpoint, local_files_only=True)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", choices=["resnet50", "swin_tiny"], default="resnet50")
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    add_outputs(parser)
    arguments = parser.parse_args()
    if arguments.checkpoint is not None and not arguments.checkpoint.is_dir():
        parser.error(f"--checkpoint: {arguments.checkpoint} is no folder")
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    world = SyntheticWorld(load_level("medium"), SEED, size=SIZE, fps=FPS)
    images = [world.step(masks=False).image for _ in range(arguments.rounds + 1)]
    result: dict[str, Any] = {
        "weights": str(arguments.checkpoint or f"random, {arguments.backbone}"),
        "picture": list(SIZE),
        "threads": arguments.threads,
        "machine": machine(),
        "cpu": None,
        "cuda": None,
    }
    model = weights(arguments)
    for device in ("cpu", "cuda"):
        if device == "cuda" and not torch.cuda.is_available():
            print("cuda: no GPU here, not measured")
            continue
        found = systems(model, images[0], device=device)
        told = measured(found, images, lambda n, s: print(f"{n}: {s.cpu_ms:.0f} ms", flush=True))
        result[device] = told
        print(f"{device}:\n{table(told)}", flush=True)
        if arguments.json is not None:
            write_result(arguments.json, result)
        if arguments.plot is not None:
            shown = arguments.plot.with_stem(f"{arguments.plot.stem}_{device}")
            measure = "cpu_ms" if device == "cpu" else "wall_ms"
            bars(
                {n: row[measure] for n, row in told["rows"].items()}, shown, x=f"{measure} a frame, {device}"
            )


if __name__ == "__main__":
    main()
