"""What computes the network, and what it costs: processor time of a frame by stage, engine beside engine.

`python -m benchmarks.engines [--model default] [--engines NAME[:PRECISION] ...] [--frames 120] [--json FILE]
[--plot FILE]`

One video of the synthetic world goes frame by frame through every engine, the order turned about each time, so that
whatever else the machine does meets all alike. One thread each. The first `WARM` frames are not counted. Prints a
table: the median of the milliseconds for each stage, and of the whole as a share of the first engine's. Where the
processor has bfloat16, torch and OpenVINO are asked for that too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from fractions import Fraction

import torch

from benchmarks.report import add_outputs, stacked
from benchmarks.side_by_side import Stopwatch
from stream.engine import TrackerEngine
from stream.types import Frame
from stream.window import RollingWindows
from syncvis_online.evaluation.run import write_result
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.online import load_tracker
from syncvis_online.runtime import native_precision
from syncvis_online.types import Image

WARM = 10
STAGES = ("encode", "decode", "rest", "frame")
_PRECISIONS = {"float32": ("",), "bfloat16": ("", ":bfloat16")}


class Lane:
    """One engine on its way through the video."""

    def __init__(self, model: str, engine: str) -> None:
        name, _, precision = engine.partition(":")
        loaded = load_tracker(model, device="cpu", engine=name, precision=precision or "float32", threads=1)
        self.info = loaded.runtime.info
        self._spent = Stopwatch()
        self._spent.watch(loaded.runtime, "encode")
        self._spent.watch(loaded.runtime, "decode")
        self._engine = TrackerEngine(loaded)
        self._windows = RollingWindows(self._engine.window_frames, 1, max_gap_s=1.0)
        self.took_ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.tracks = 0

    def step(self, index: int, image: Image, fps: float) -> None:
        """Answer one frame."""
        window = self._windows.push(Frame("video", index, index, Fraction(1, 1000), index / fps, image))
        assert window is not None
        self._spent.reset()
        began = time.process_time()
        answer = self._engine.process(window)
        whole = time.process_time() - began
        if index < WARM:
            return
        self.tracks += sum(len(frame.tracks) for frame in answer.frames)
        parts = (self._spent.seconds["encode"], self._spent.seconds["decode"])
        for stage, seconds in zip(STAGES, (*parts, whole - sum(parts), whole), strict=True):
            self.took_ms[stage].append(1000 * seconds)


def race(lanes: list[Lane], images: list[Image], fps: float) -> None:
    """Every frame through every engine, the first one another each time."""
    for index, image in enumerate(images):
        first = index % len(lanes)
        for lane in (*lanes[first:], *lanes[:first]):
            lane.step(index, image, fps)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    names = [
        f"{name}{more}" for more in _PRECISIONS[native_precision("cpu")] for name in ("torch", "openvino")
    ]
    parser.add_argument("--engines", nargs="+", default=names)
    parser.add_argument("--frames", type=int, default=120)
    add_outputs(parser)
    options = parser.parse_args()
    (video,) = open_videos(f"synthetic:medium?seeds=3-3&frames={options.frames}")
    images = list(video.frames())
    lanes = [Lane(options.model, engine) for engine in options.engines]
    torch.set_num_threads(1)
    race(lanes, images, video.fps)
    result = {"model": options.model, "frames": options.frames - WARM, "size": list(images[0].shape[:2])}
    rows = {}
    for lane in lanes:
        medians = {stage: statistics.median(lane.took_ms[stage]) for stage in STAGES}
        ratios = [a / b for a, b in zip(lane.took_ms["frame"], lanes[0].took_ms["frame"], strict=True)]
        rows[str(lane.info)] = {
            **{f"{stage}_ms": round(medians[stage], 2) for stage in STAGES},
            "share_of_first": round(statistics.median(ratios), 3),
            "tracks_a_frame": round(lane.tracks / (options.frames - WARM), 2),
        }
    print(f"{'engine':26}" + "".join(f"{stage + ' ms':>12}" for stage in STAGES) + f"{'of first':>12}")
    for name, row in rows.items():
        print(
            f"{name:26}"
            + "".join(f"{row[stage + '_ms']:12.1f}" for stage in STAGES)
            + f"{row['share_of_first']:12.3f}"
        )
    if options.json is not None:
        write_result(options.json, {**result, "engines": rows})
        print(json.dumps({"written": str(options.json)}))
    if options.plot is not None:
        parts = STAGES[:-1]
        stacked(
            {name: {part: row[f"{part}_ms"] for part in parts} for name, row in rows.items()},
            options.plot,
            x="processor time a frame, ms",
        )


if __name__ == "__main__":
    main()
