"""The checkpoint that ships beside YOLO11n-seg with ByteTrack, each from one RTSP camera to masks with identities.

    python -m benchmarks.yolo_bytetrack [--rounds 3] [--seconds 8] [--fps 25 100] [--threads 1 2] [--json FILE]
        [--plot FILE]

The camera is GStreamer's, 640x360, in a process of its own; each system opens it, settles, is measured, and closes it,
in turn. Ours is `open_tracker`, theirs is Ultralytics' `model.track(stream=True)` in its own process and environment
(`yolo_environment`), with random weights and about ten objects found (`yolo_runner`); both take the newest frame, see
320x192, and hold masks on the host: ours of 640x360 and run-length coded, theirs of 320x192 as they are by default.
At 25 frames a second neither can answer more; at 100 one sees how many it can. OpenVINO is compared at as many threads
as there are processors. Processor time is that of the system and its readers, without the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.many_cameras import LOOP_FRAMES, cpu_s
from benchmarks.report import add_outputs, bars
from benchmarks.side_by_side import Ratio, Spent, in_turn, machine, summary
from benchmarks.yolo_environment import CACHE, Unavailable, python_with_yolo, quiet_settings
from stream.engine import TrackerEngine
from stream.sources import cool_down, warm_up
from stream.tracker_api import open_tracker
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.evaluation.run import write_result
from syncvis_online.online import OnlineTracker, load_tracker
from syncvis_online.types import Image
from tests.support.rtsp_server import RtspServer

RUNNER = Path(__file__).with_name("yolo_runner.py")
SEED, SETTLE_S = 9000, 2.0
CALIBRATION_FRAMES = 6
AIMS = {"torch": 1.5, "openvino": 1.0}
OURS, THEIRS = "ours", "YOLO11n-seg, ByteTrack"
Told = dict[str, Any]


class Yolo:
    """YOLO with ByteTrack in its process, until it is closed. Raises Unavailable when it cannot be loaded."""

    def __init__(self, python: Path, engine: str, threads: int, pictures: Path) -> None:
        self._folder = pictures.parent
        self._process = subprocess.Popen(
            [python, RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / "yolo.log").open("w"),
            text=True,
            env=quiet_settings(),
            cwd=self._folder,
        )
        request = {
            "engine": engine,
            "threads": threads,
            "pictures": str(pictures),
            "folder": str(self._folder),
        }
        self.about = self._ask("load", request)

    def measured(self, url: str, seconds: float) -> tuple[Spent, Told]:
        """A stream, followed for so long."""
        told = self._ask("run", {"url": url, "seconds": seconds})
        return Spent(told.pop("frames"), told.pop("wall_s"), told.pop("cpu_s")), told

    def _ask(self, what: str, request: Told) -> Told:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": what, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            said = (self._folder / "yolo.log").read_text(encoding="utf-8").strip().splitlines()
            raise Unavailable(said[-1] if said else "it ended without a word")
        told: Told = json.loads(line)
        return told

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


async def followed(tracker: OnlineTracker, url: str, seconds: float) -> tuple[Spent, Told]:
    """Ours: a stream, followed for so long once it has settled."""
    frames, tracked = 0, 0
    began = wall = cpu = 0.0
    stream = open_tracker(url, TrackerEngine(tracker))
    async with aclosing(aiter(stream)) as answers:
        async for frame in answers:
            now = time.monotonic()
            began = began or now
            if not wall or now - began < SETTLE_S:
                wall, cpu = now, cpu_s()
                continue
            frames, tracked = frames + 1, tracked + len(frame.tracks)
            if now - wall >= seconds:
                break
        spent = Spent(frames, time.monotonic() - wall, cpu_s() - cpu)
    return spent, {"tracked": tracked / max(1, frames)}


def ours(engine: str, threads: int) -> OnlineTracker:
    """The checkpoint that ships, computed by torch or OpenVINO; in the precision that YOLO has there: float32 in torch,
    and what OpenVINO takes by itself, bfloat16 where the processor has it.
    """
    cv2.setNumThreads(threads)
    precision = "float32" if engine == "torch" else "auto"
    return load_tracker("default", device="cpu", engine=engine, precision=precision, threads=threads)


def gflop(image: Image) -> float:
    """Operations of a frame of ours: encoded, projected, and its window decoded, in thousands of millions."""
    tracker = load_tracker("default", device="cpu", engine="torch")
    tracker.model.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        features = tracker.encode(tracker.prepare(image))
    encoded = counter.get_total_flops()
    frames = tracker.config.window_frames
    with FlopCounterMode(display=False) as counter:
        tracker.answer([features] * frames, list(range(frames)), 1, tracker.initial_state(), image.shape[:2])
    return (encoded + counter.get_total_flops()) / 1e9


def compared(tracker: OnlineTracker, yolo: Yolo, url: str, seconds: float, rounds: int) -> dict[str, Any]:
    """A row for each system, and ours over theirs in frames a second and theirs over ours in processor time."""
    more: dict[str, list[Told]] = {OURS: [], THEIRS: []}

    def once(name: str) -> Spent:
        if name == OURS:
            spent, told = asyncio.run(followed(tracker, url, seconds))
        else:
            spent, told = yolo.measured(url, seconds)
        more[name].append(told)
        return spent

    spent = in_turn({name: partial(once, name) for name in more}, rounds)
    rows = {}
    for name, each in spent.items():
        rows[name] = summary(each)
        rows[name]["tracked"] = round(float(np.mean([told["tracked"] for told in more[name]])), 1)
    rows[THEIRS]["stages_ms"] = more[THEIRS][-1]["stages_ms"]
    rows[THEIRS] |= {name: more[THEIRS][-1][name] for name in ("format", "precision")}
    ratios = {
        "frames_per_s, ours / theirs": asdict(Ratio.of(spent[OURS], spent[THEIRS], "frames_per_s")),
        "cpu_ms, theirs / ours": asdict(Ratio.of(spent[THEIRS], spent[OURS], "cpu_ms")),
    }
    return {"rows": rows, "ratios": ratios}


@contextmanager
def cameras(rates: list[int]) -> Iterator[tuple[dict[int, str], Path]]:
    """The addresses of one clip at so many frames a second each; and a file of pictures to calibrate with, BGR."""
    world = SyntheticWorld(load_level("medium"), SEED, fps=min(rates))
    clip = [world.step(masks=False).image for _ in range(LOOP_FRAMES)]
    with tempfile.TemporaryDirectory() as folder, RtspServer(Path(folder)) as server:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, np.stack(clip[:: LOOP_FRAMES // CALIBRATION_FRAMES])[..., ::-1])
        for fps in rates:
            server.serve_clip(clip, fps=fps, gop=fps)
        yield {fps: server.url(mount) for fps, mount in zip(rates, server.mounts, strict=True)}, pictures


def obstacle(engine: str) -> str | None:
    """Why an engine cannot be compared here, if so."""
    return "openvino is not installed" if engine == "openvino" and find_spec("openvino") is None else None


def table(rows: list[Told]) -> str:
    """All that was compared, as text."""
    body = []
    for row in rows:
        where = [row["engine"], row["threads"], row["camera_fps"]]
        if "skipped" in row:
            body.append([*where, f"not measured: {row['skipped']}"])
            continue
        for name, of in row["rows"].items():
            speed = round(1000 * row["gflop"][name] / of["cpu_ms"], 1)
            figures = [of["frames_per_s"], of["cpu_ms"], of["tracked"], row["gflop"][name], speed]
            body.append([*where, name, *figures])
        for what, ratio in row["ratios"].items():
            body.append([*where, what, str(Ratio(**ratio))])
    heads = [
        "engine",
        "threads",
        "camera",
        "system",
        "frames/s",
        "cpu ms/frame",
        "tracks",
        "GFLOP",
        "GFLOP/cpu s",
    ]
    return tabulate(body, headers=heads, disable_numparse=True)


def measured(arguments: argparse.Namespace, python: Path, tell: Callable[[list[Told]], None]) -> None:
    """Every engine, number of threads and camera; `tell` is given all rows so far."""
    plan = [("torch", threads) for threads in arguments.threads]
    plan.append(("openvino", psutil.cpu_count() or 1))
    rows: list[Told] = []
    with cameras(arguments.fps) as (urls, pictures):
        work = gflop(np.load(pictures)[0][..., ::-1].copy())
        for engine, threads in plan:
            reason = obstacle(engine)
            yolo = None
            try:
                if reason is None:
                    yolo, tracker = Yolo(python, engine, threads, pictures), ours(engine, threads)
            except Unavailable as error:
                reason = str(error)
            for fps, url in urls.items():
                row: Told = {"engine": engine, "threads": threads, "camera_fps": fps}
                if yolo is None:
                    row["skipped"] = reason
                else:
                    row["yolo"] = yolo.about
                    row["precision"] = tracker.runtime.info.precision
                    row["gflop"] = {OURS: round(work, 2), THEIRS: round(yolo.about["gflop"], 2)}
                    row |= compared(tracker, yolo, url, arguments.seconds, arguments.rounds)
                rows.append(row)
                tell(rows)
            if yolo is not None:
                yolo.close()


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--fps", nargs="+", type=int, default=[25, 100], help="of the camera (%(default)s)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of torch (%(default)s)")
    add_outputs(parser)
    arguments = parser.parse_args()
    try:
        python = python_with_yolo()
    except Unavailable as error:
        print(f"skipped: the environment for YOLO in {CACHE} cannot be made: {error}")
        return
    result: Told = {"seconds": arguments.seconds, "aims": AIMS, "machine": machine()}

    def tell(rows: list[Told]) -> None:
        print(json.dumps(rows[-1]), flush=True)
        if arguments.json is not None:
            write_result(arguments.json, {**result, "rows": rows})
        result["shown"] = rows

    warm_up()
    try:
        measured(arguments, python, tell)
    finally:
        cool_down()
    rows = result["shown"]
    print(table(rows))
    if arguments.plot is not None:
        values = {
            f"{row['engine']}, {row['threads']} threads, {row['camera_fps']}/s: {name}": of["frames_per_s"]
            for row in rows
            for name, of in row.get("rows", {}).items()
        }
        bars(values, arguments.plot, x="frames answered a second")


if __name__ == "__main__":
    main()
