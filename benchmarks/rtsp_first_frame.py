"""How long until a camera's first frame, and how old frames are: one command, no arguments needed.

    python -m benchmarks.rtsp_first_frame [--openings 20] [--transport tcp] [--json FILE]
        [--plot FILE]

Serves a clip with one key frame a second from a GStreamer RTSP server on loopback, on a shared mount that
somebody else watches all the time, and opens it at random moments. The pictures carry their index, the server
sends picture i at a known time: so the wait for the key frame can be told from the rest, and the age of every
frame is known without asking the code under test. Then the same with every picture a key frame.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import add_outputs, bars
from stream.sources import SourceOptions, open_source, warm_up
from stream.types import Frame
from tests.support.rtsp_server import RtspServer, index_frames, read_index

FPS = 25
COUNT = 100
FRAMES_AFTER_OPENING = 25


@dataclass(frozen=True)
class Opening:
    """One opening; all in seconds."""

    first_frame_s: float
    keyframe_wait_s: float
    """From the request to the moment at which the picture of the first frame was due at the server."""
    ages_s: list[float]
    """From being due at the server to being received, frame by frame."""
    stamps_s: list[float]
    """From being due at the server to the frame's own time of capture."""


def due_at(frame: Frame, received_s: float, t0_s: float) -> float:
    """When the server sent this picture: the last time before it was received at which its index was due."""
    index = read_index(frame.image)
    loops = int(((received_s - t0_s) * FPS - index) // COUNT)
    return t0_s + (index + loops * COUNT) / FPS


async def open_once(url: str, transport: str, t0_s: float) -> Opening:
    """Open, receive a second of frames, close."""
    asked_s = time.time()
    source = open_source("camera", url, options=SourceOptions(transport=transport))
    frames: list[tuple[Frame, float]] = []
    async with aclosing(source.frames()) as stream:
        async for frame in stream:
            frames.append((frame, time.time()))
            if len(frames) == FRAMES_AFTER_OPENING:
                break
    due = [due_at(frame, received_s, t0_s) for frame, received_s in frames]
    return Opening(
        first_frame_s=frames[0][1] - asked_s,
        keyframe_wait_s=max(0.0, due[0] - asked_s),
        ages_s=[received_s - due_s for (_, received_s), due_s in zip(frames, due, strict=True)],
        stamps_s=[frame.captured_at_s - due_s for (frame, _), due_s in zip(frames, due, strict=True)],
    )


async def watch(url: str) -> None:
    """The somebody else who watches all the time."""
    async with aclosing(open_source("watcher", url).frames()) as frames:
        async for _ in frames:
            pass


async def measure(gop: int, transport: str, openings: int) -> dict[str, float]:
    """Open so many times at random moments; medians in seconds."""
    rng = random.Random(gop)
    with tempfile.TemporaryDirectory() as directory, RtspServer(Path(directory)) as server:
        url = server.serve_clip(index_frames(COUNT, 640, 352), fps=FPS, gop=gop)
        watcher = asyncio.create_task(watch(url))
        runs: list[Opening] = []
        for _ in range(openings):
            await asyncio.sleep(rng.uniform(0.2, 1.2))
            runs.append(await open_once(url, transport, server.t0_s))
        watcher.cancel()
        await asyncio.wait({watcher})
    return summary(runs)


def summary(runs: list[Opening]) -> dict[str, float]:
    """Medians over the openings, and the worst ages."""
    late = [max(run.ages_s[1:]) for run in runs]
    figures = {
        "first_frame_median_s": statistics.median(run.first_frame_s for run in runs),
        "first_frame_max_s": max(run.first_frame_s for run in runs),
        "keyframe_wait_median_s": statistics.median(run.keyframe_wait_s for run in runs),
        "rest_median_s": statistics.median(run.first_frame_s - run.keyframe_wait_s for run in runs),
        "first_frame_age_median_s": statistics.median(run.ages_s[0] for run in runs),
        "age_median_s": statistics.median(age for run in runs for age in run.ages_s),
        "worst_age_after_opening_median_s": statistics.median(late),
        "stamp_error_median_s": statistics.median(stamp for run in runs for stamp in run.stamps_s),
    }
    return {name: round(value, 4) for name, value in figures.items()}


async def main() -> None:
    """Measure both streams and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--openings", type=int, default=20)
    parser.add_argument("--transport", choices=["tcp", "udp"], default="tcp")
    add_outputs(parser)
    arguments = parser.parse_args()
    warm_up()
    results = {}
    for name, gop in (("key frame every second", FPS), ("every picture a key frame", 1)):
        results[name] = await measure(gop, arguments.transport, arguments.openings)
        print(f"{name}, {arguments.transport}, {arguments.openings} openings at random moments")
        for figure, value in results[name].items():
            print(f"  {figure:34s} {value:8.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.plot:
        medians = {
            f"{name}: {figure.removesuffix('_median_s').replace('_', ' ')}": 1000 * of[figure]
            for name, of in results.items()
            for figure in ("first_frame_median_s", "keyframe_wait_median_s", "age_median_s")
        }
        bars(medians, arguments.plot, x="median, ms")


if __name__ == "__main__":
    asyncio.run(main())
