"""What a frame costs as tracks grow, from one to as many as the model has slots for.

    python -m benchmarks.cost_of_tracks [--model default] [--engine torch] [--objects 1 4 8 16 32] [--frames 60]
        [--json FILE] [--plot FILE]

Videos of the synthetic world with more and more objects, 640x360, through the engine that `serve` has, and on to what
leaves the machine: the message for programs (JSON), the overlay drawn into the picture. The emptiest of them is also
shown to a tracker that answers only what it is very sure of, and the fullest to one that answers whatever any slot
says, likely or not: as many tracks as there can be. All go frame by frame in turn, the first one another each time, so
that whatever else the machine does meets all alike; one thread, processor time, medians. The first `WARM` frames are
not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import cv2
import torch
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.report import add_outputs, lines
from benchmarks.side_by_side import Stopwatch, machine
from stream.engine import TrackerEngine
from stream.types import Frame
from stream.webrtc.feed import render_planes
from stream.window import RollingWindows
from stream.wire import WireFrame
from syncvis_online.checkpoint import Checkpoint
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.evaluation.run import write_result
from syncvis_online.online import OnlineTracker, load_tracker
from syncvis_online.types import Image

WARM, SEED, FPS = 10, 9000, 10
STAGES = ("encode", "decode", "track", "masks and the rest", "message", "overlay")
EVERYTHING = {"birth_score": 0.0, "keep_score": 0.0, "duplicate_iou": 1.0, "min_area": 1}
"""Settings of a tracker that answers all that the slots say."""
SUREST = {"birth_score": 0.97, "keep_score": 0.97}
"""Of one that answers only what it is very sure of."""


def video(objects: int, frames: int) -> list[Image]:
    """A video in which so many objects can be seen at once, or up to three more."""
    level = replace(load_level("medium"), objects=(objects, objects + 3))
    world = SyntheticWorld(level, SEED, fps=FPS)
    return [world.step(masks=False).image for _ in range(frames)]


class Lane:
    """One video on its way through a tracker of its own."""

    def __init__(self, name: str, tracker: OnlineTracker, pictures: Sequence[Image]) -> None:
        self.name, self.pictures = name, pictures
        self._spent = Stopwatch()
        self._engine = TrackerEngine(tracker)
        self._windows = RollingWindows(self._engine.window_frames, 1, max_gap_s=1.0)
        self._spent.watch(tracker, "encode")
        self._spent.watch(tracker.slots, "decode")
        self._spent.watch(tracker.slots, "update", "track")
        self.spent_ms: dict[str, list[float]] = defaultdict(list)
        self.tracks: list[int] = []

    def step(self, index: int) -> None:
        """One frame, to the end."""
        window = self._windows.push(
            Frame("camera", index, index, Fraction(1, FPS), index / FPS, self.pictures[index])
        )
        assert window is not None
        self._spent.reset()
        times = [time.process_time()]
        (frame,) = self._engine.process(window).frames
        times.append(time.process_time())
        WireFrame.of(frame).model_dump_json()
        times.append(time.process_time())
        render_planes(frame)
        times.append(time.process_time())
        whole, message, overlay = (b - a for a, b in pairwise(times))
        if index >= WARM:
            spent = dict(self._spent.seconds)
            spent |= {
                "masks and the rest": whole - sum(spent.values()),
                "message": message,
                "overlay": overlay,
            }
            self.tracks.append(len(frame.tracks))
            for stage in STAGES:
                self.spent_ms[stage].append(1000 * spent[stage])

    def row(self) -> dict[str, Any]:
        """What it came to: medians in milliseconds, of the stages and of the whole."""
        whole = [sum(of_frame) for of_frame in zip(*self.spent_ms.values(), strict=True)]
        return {
            "video": self.name,
            "tracks": round(statistics.mean(self.tracks), 1),
            "stages_ms": {stage: round(statistics.median(self.spent_ms[stage]), 2) for stage in STAGES},
            "frame_ms": round(statistics.median(whole), 2),
        }


def lanes(arguments: argparse.Namespace) -> list[Lane]:
    """One for each number of objects, one that answers next to nothing and one that answers everything."""
    loaded = load_tracker(arguments.model, device="cpu", engine=arguments.engine, threads=1)
    checkpoint = Checkpoint(loaded.model, loaded.config, {})

    def tracker(**settings: Any) -> OnlineTracker:
        return OnlineTracker(checkpoint, replace(loaded.config, **settings), "cpu", loaded.runtime)

    videos = {objects: video(objects, WARM + arguments.frames) for objects in arguments.objects}
    found = [Lane(f"{n} to {n + 3} objects", tracker(), pictures) for n, pictures in videos.items()]
    least, most = min(videos), max(videos)
    found.append(Lane(f"{least} to {least + 3}, the surest", tracker(**SUREST), videos[least]))
    return [*found, Lane(f"{most} to {most + 3}, all slots", tracker(**EVERYTHING), videos[most])]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text, times in milliseconds."""
    body = [
        [
            *(row["video"], row["tracks"], *row["stages_ms"].values(), row["frame_ms"]),
            f"{row['frame_ms'] / rows[0]['frame_ms']:.2f}",
        ]
        for row in rows
    ]
    return tabulate(body, headers=["video", "tracks", *STAGES, "a frame", "of the first"])


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--engine", default="torch", choices=["torch", "openvino"])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--frames", type=int, default=60)
    add_outputs(parser)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    racing = lanes(arguments)
    for index in tqdm(range(WARM + arguments.frames), unit="frame"):
        first = index % len(racing)
        for lane in (*racing[first:], *racing[:first]):
            lane.step(index)
    rows = sorted((lane.row() for lane in racing), key=lambda row: float(row["tracks"]))
    print(table(rows))
    if arguments.json is not None:
        about = {"model": arguments.model, "engine": arguments.engine, "frames": arguments.frames}
        write_result(arguments.json, {**about, "machine": machine(), "rows": rows})
    if arguments.plot is not None:
        stages = {stage: [(row["tracks"], row["stages_ms"][stage]) for row in rows] for stage in STAGES}
        whole = {"a frame": [(row["tracks"], row["frame_ms"]) for row in rows]}
        lines(whole | stages, arguments.plot, x="tracks on a frame", y="processor time, ms")


if __name__ == "__main__":
    main()
