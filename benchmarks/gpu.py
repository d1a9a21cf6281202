"""One GPU: frames a second of one camera and of the best batch, latency, cameras at 25 frames/s, memory, roofline.

`python -m benchmarks.gpu [--model PATH] [--device cuda] [--cameras 1 2 4 8 ...] [--precisions float32 bfloat16]
[--windows N] [--tracks N] [--peak-tflops FLOAT32 BFLOAT16] [--json FILE] [--plot FILE]`

Cameras of 640 x 360, a window of three frames for each new one (Ts = 3, stride 1), by the engine that `serve` has: from
the picture in host memory to the masks in host memory, encoding, decoding, identities and run lengths included. Without
`--model` the weights are random: the paper's architecture (ResNet-50, Mask2Former's pixel decoder), which sees nothing.
A track is what scores above where `--tracks` are on the first picture; their masks may hide each other. Work is counted
by `torch.utils.flop_counter`; its share of `--peak-tflops` (an H200's by default, dense) is the share of the roofline.
It also runs on a processor (`--device cpu`), to see that it does.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import yaml
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import add_outputs, lines
from stream.engine import TrackerEngine
from stream.types import Frame, Window
from syncvis_online.checkpoint import Checkpoint, load_model
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.evaluation.run import write_result
from syncvis_online.folding import fold_batch_norms
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker
from syncvis_online.paths import find_config
from syncvis_online.runtime import torch_runtime
from syncvis_online.types import Image

FPS = 25
SIZE = (360, 640)
PICTURES = 16
WARM_UP = 5
H200_TFLOPS = (67.0, 989.0)
"""NVIDIA H200, data sheet: float32 (without TF32), and bfloat16 without sparsity."""


def checkpoint_of(model: str | None) -> Checkpoint:
    """The checkpoint, or the paper's architecture with random weights."""
    if model is not None:
        checkpoint = load_model(model)
    else:
        config = yaml.safe_load(find_config("training", "paper_r50").read_text())["model"]
        torch.manual_seed(0)
        checkpoint = Checkpoint(
            SyncVIS(ModelConfig.from_mapping(config, "paper_r50")).eval(), TrackerConfig(), {}
        )
    fold_batch_norms(checkpoint.model)
    checkpoint.model.requires_grad_(False)  # the counter of operations asks for it
    return checkpoint


class Cameras:
    """So many cameras that show a few pictures again and again; `due()`: the next window of each."""

    def __init__(self, count: int, pictures: Sequence[Image], window_frames: int) -> None:
        self._count, self._pictures, self._window_frames = count, pictures, window_frames
        self._number = 0

    def due(self) -> list[Window]:
        """One new frame of each, and the window that it ends."""
        numbers = range(max(0, self._number - self._window_frames + 1), self._number + 1)
        self._number += 1
        return [
            Window(tuple(self._frame(f"cam{camera}", number, camera) for number in numbers), 1)
            for camera in range(self._count)
        ]

    def _frame(self, camera: str, number: int, offset: int) -> Frame:
        picture = self._pictures[(number + offset) % len(self._pictures)]
        return Frame(camera, number, number, Fraction(1, FPS), number / FPS, picture)


def score_of(tracker: OnlineTracker, pictures: Sequence[Image], tracks: int) -> float:
    """The score above which the model sees about so many tracks on these pictures."""
    seen = OnlineTracker(
        Checkpoint(tracker.model, replace(tracker.config, birth_score=0.0, keep_score=0.0), {}),
        device=str(tracker.device),
    )
    (answer,) = list(seen.track_video(pictures[:1], FPS, "streaming"))
    scores = sorted((track.score for track in answer.tracks), reverse=True)
    return scores[min(tracks, len(scores)) - 1] if scores else 0.0


def measured(tracker: OnlineTracker, pictures: Sequence[Image], cameras: int, windows: int) -> dict[str, Any]:
    """One row: `cameras` windows a call, so many calls, each encoded while the one before is answered, as the service
    does it on a GPU. Times of the wall, from the pictures to what is answered, which is on the host by then.
    """
    engine = TrackerEngine(tracker, most_windows=cameras)
    feed, spent_s, tracks = Cameras(cameras, pictures, tracker.config.window_frames), [], 0
    cuda = tracker.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began_s, first_s = deque[float](), 0.0
    with ThreadPoolExecutor(1) as encoder:

        def begin() -> Future[Any]:
            began_s.append(time.perf_counter())
            return encoder.submit(engine.encode_together, feed.due())

        waiting = begin()
        for call in range(WARM_UP + windows):
            encoded = waiting.result()
            waiting = begin()
            answers = engine.answer_together(encoded)
            if call < WARM_UP:
                began_s.popleft()
                first_s = time.perf_counter()
                continue
            spent_s.append(time.perf_counter() - began_s.popleft())
            tracks += sum(len(frame.tracks) for answer in answers for frame in answer.frames)
        whole_s = time.perf_counter() - first_s
        waiting.result()
    p50, p95 = (float(np.percentile(spent_s, p)) for p in (50, 95))
    return {
        "precision": tracker.runtime.info.precision,
        "cameras": cameras,
        "frames_per_s": round(cameras * len(spent_s) / whole_s, 1),
        "ms": {"p50": round(1000 * p50, 2), "p95": round(1000 * p95, 2)},
        "all_at_25": bool(len(spent_s) / whole_s >= FPS),
        "tracks_a_frame": round(tracks / len(spent_s) / cameras, 1),
        "memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if cuda else None,
    }


def gflop_a_frame(tracker: OnlineTracker, pictures: Sequence[Image]) -> float:
    """Billions of operations for one more frame of one camera."""
    engine, feed = TrackerEngine(tracker), Cameras(1, pictures, tracker.config.window_frames)
    for _ in range(tracker.config.window_frames):
        engine.process(feed.due()[0])
    with FlopCounterMode(display=False) as counter:
        engine.process(feed.due()[0])
    return float(counter.get_total_flops()) / 1e9


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    body = [
        [
            row["precision"],
            row["cameras"],
            row["frames_per_s"],
            row["ms"]["p50"],
            row["ms"]["p95"],
            "yes" if row["all_at_25"] else "no",
            row["tracks_a_frame"],
            row["memory_mib"] or "",
            f"{100 * row['roofline']:.1f} %" if row["roofline"] is not None else "",
        ]
        for row in rows
    ]
    headers = [
        "",
        "cameras",
        "frames/s",
        "p50, ms",
        "p95, ms",
        "all at 25/s",
        "tracks",
        "MiB",
        "of the roofline",
    ]
    return tabulate(body, headers=headers)


def main(given: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", metavar="PATH")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--window-frames", type=int, default=3)
    parser.add_argument("--tracks", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, nargs=2, default=H200_TFLOPS)
    add_outputs(parser)
    arguments = parser.parse_args(given)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(PICTURES)]
    checkpoint = checkpoint_of(arguments.model)
    config = replace(checkpoint.tracker, window_frames=arguments.window_frames, stride=1)
    tracker = OnlineTracker(checkpoint, config, arguments.device)
    score = score_of(tracker, pictures, arguments.tracks)
    config = replace(config, birth_score=score, keep_score=score)
    tracker = OnlineTracker(checkpoint, config, arguments.device)
    gflop = gflop_a_frame(tracker, pictures)
    peak = dict(zip(("float32", "bfloat16"), arguments.peak_tflops, strict=True))
    rows = []
    for precision in arguments.precisions:
        runtime = torch_runtime(checkpoint.model, arguments.device, precision)
        tracker = OnlineTracker(checkpoint, config, arguments.device, runtime)
        for cameras in arguments.cameras:
            row = measured(tracker, pictures, cameras, arguments.windows)
            on_gpu = arguments.device == "cuda" and precision in peak
            row["roofline"] = gflop * row["frames_per_s"] / (1000 * peak[precision]) if on_gpu else None
            rows.append(row)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device
    print(f"{device}: {gflop:.1f} GFLOP a frame, {config.window_frames} frames a window")
    print(table(rows))
    if arguments.json is not None:
        about = {"device": device, "torch": torch.__version__, "gflop_a_frame": round(gflop, 2)}
        write_result(arguments.json, {**about, "model": arguments.model, "rows": rows})
    if arguments.plot is not None:
        lines(
            {
                precision: [(r["cameras"], r["frames_per_s"]) for r in rows if r["precision"] == precision]
                for precision in arguments.precisions
            },
            arguments.plot,
            x="cameras answered at once",
            y="frames/s of all of them",
            doubling=True,
        )


if __name__ == "__main__":
    main()
