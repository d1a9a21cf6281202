"""Quality bought per millisecond: what accuracy each way of running the model costs, so that a user can choose.

`python -m benchmarks.quality_per_ms [--data SPEC] [--model NAME] [--rows "KEY=VALUE ..." ...] [--r50 FRAMES]
[--json FILE] [--plot FILE]`

Each row is the model with other settings of its tracker. All go through each video in step, frame by frame, so that
their times compare whatever else the machine does; one thread, and its own processor time counts. Nothing is late
here: an answer counts whenever it comes (a stride of s makes it up to s - 1 frames later, which
`benchmarks.streaming_accuracy` judges). The last row has no trained weights here: the architecture of the paper
(ResNet-50, Mask2Former's pixel decoder, 360 x 640), for its time alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.report import add_outputs, labelled
from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.evaluation.run import judge, write_result
from syncvis_online.evaluation.tubes import VideoResult, predicted_tubes
from syncvis_online.evaluation.videos import EvaluationVideo, open_videos
from syncvis_online.folding import fold_batch_norms
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker, load_tracker
from syncvis_online.paths import find_config
from syncvis_online.types import FrameTracks

ROWS = (
    "short_side=256",
    "",
    "window_frames=1",
    "stride=2",
    "short_side=160",
    "short_side=160 stride=2",
    "short_side=128",
    "short_side=128 stride=2",
    "short_side=96",
)
COLUMNS = ("AP50", "AP", "HOTA", "IDF1")
R50 = "ResNet-50, 360 x 640"


def settings_of(row: str) -> dict[str, Any]:
    """`KEY=VALUE ...` as settings of the tracker."""
    return {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in row.split())}


class InStep:
    """Trackers by name, on the same videos side by side; `cpu_s`: the processor time of each, `results` by name."""

    def __init__(self, trackers: dict[str, OnlineTracker]) -> None:
        self._trackers = trackers
        self.cpu_s = dict.fromkeys(trackers, 0.0)
        self.results: dict[str, list[VideoResult]] = {name: [] for name in trackers}
        self.frames = 0

    def video(self, video: EvaluationVideo) -> None:
        """Let all of them follow one more video."""
        rendering, *copies = tee(video.frames(), 1 + len(self._trackers))
        running = {
            name: tracker.track_video(frames, video.fps, "streaming")
            for (name, tracker), frames in zip(self._trackers.items(), copies, strict=True)
        }
        said: dict[str, list[FrameTracks]] = {name: [] for name in running}
        for number, _ in enumerate(rendering):
            for name, answers in running.items():
                began_s = time.thread_time()
                # A tracker with a stride answers several frames at once, and none before.
                if (number + 1) % self._trackers[name].config.stride == 0:
                    said[name] += islice(answers, self._trackers[name].config.stride)
                self.cpu_s[name] += time.thread_time() - began_s
        self.frames += video.length
        truth = video.ground_truth()
        for name, answers in running.items():
            said[name] += answers
            tubes = predicted_tubes(said[name], video.length, video.size)
            self.results[name].append(VideoResult(truth, tubes, video.labels))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The figures of each."""
        found = {}
        for name, results in self.results.items():
            judged = judge(results)
            ms = 1000 * self.cpu_s[name] / self.frames
            found[name] = {
                **{key: round(judged[key], 4) for key in COLUMNS},
                "IDSW": judged["IDSW"],
                "ms": ms,
            }
        return found


def r50_ms(frames: int) -> float:
    """Processor time a frame, in ms, of the paper's architecture with random weights, which see nothing to follow."""
    config = yaml.safe_load(find_config("training", "paper_r50").read_text())["model"]
    torch.manual_seed(0)
    model = SyncVIS(ModelConfig.from_mapping(config, "paper_r50")).eval()
    fold_batch_norms(model)
    tracker = OnlineTracker(Checkpoint(model, TrackerConfig(birth_score=1.0), {}))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (360, 640, 3), np.uint8) for _ in range(2 + frames)]
    answers = tracker.track_video(pictures, 25.0, "streaming")
    next(answers), next(answers)  # the first ones make what is kept
    began_s = time.thread_time()
    for _ in answers:
        pass
    return 1000 * (time.thread_time() - began_s) / frames


def table(rows: dict[str, dict[str, Any]], usual: str) -> str:
    """The rows as text; `usual`: the row to which times are compared."""
    body = [
        [
            name or "as it ships",
            *(f"{row[key]:.3f}" if key in row else "" for key in COLUMNS),
            row.get("IDSW", ""),
            f"{row['ms']:.0f}",
            f"{row['ms'] / rows[usual]['ms']:.2f}",
            *(f"{1000 / row['ms'] / rate:.1f}" for rate in (5, 25)),
        ]
        for name, row in rows.items()
    ]
    headers = ["settings", *COLUMNS, "IDSW", "ms", "ratio", "cameras at 5 fps", "at 25"]
    return tabulate(body, headers=headers, disable_numparse=True)


def plot(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """HOTA against milliseconds."""
    judged = {name or "as it ships": (row["ms"], row["HOTA"]) for name, row in rows.items() if "HOTA" in row}
    labelled(judged, path, x="processor time a frame, ms", y="HOTA")


def main(given: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="synthetic:medium?seeds=9000-9019&frames=80", metavar="SPEC")
    parser.add_argument("--model", default="default")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="KEY=VALUE ...")
    parser.add_argument("--r50", type=int, default=10, metavar="FRAMES")
    add_outputs(parser)
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    step = InStep({row: load_tracker(arguments.model, settings=settings_of(row)) for row in arguments.rows})
    for video in tqdm(open_videos(arguments.data), unit="video"):
        step.video(video)
    rows = step.rows()
    if arguments.r50:
        rows[R50] = {"ms": r50_ms(arguments.r50)}
    print(table(rows, "" if "" in rows else arguments.rows[0]))
    if arguments.json is not None:
        about = {"data": arguments.data, "model": arguments.model, "threads": 1}
        write_result(arguments.json, {**about, "rows": rows})
    if arguments.plot is not None:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
