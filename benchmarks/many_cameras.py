"""Capture to publication, by stage, for more and more cameras, until they are more than the machine can answer.

    python -m benchmarks.many_cameras [--model none|NAME] [--cameras 1 2 4 8] [--seconds 20] [--json FILE] [--plot FILE]

RTSP cameras of 640x360 at 25 frames a second, served by GStreamer on loopback, each decoded in a process of its own;
the service is the one that `serve` runs, without its HTTP server. `--model none` takes no time: what is left is the
pipeline's own overhead. CPU is that of the service and its readers, in cores, without the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from benchmarks.no_model import NoModel
from benchmarks.report import add_outputs, lines
from stream.app import Service
from stream.config import parse_config
from stream.engine import Engine, load_engine
from stream.metrics import STAGES
from stream.sources import cool_down, warm_up
from stream.types import TrackedFrame
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.evaluation.run import write_result
from tests.support.rtsp_server import SCRIPT, RtspServer

FPS = 25
LOOP_FRAMES = 100
SETTLE_S = 3.0
PERCENTS = (50, 95, 99)
UP_WITHIN_S = 60.0


def serve_clip(server: RtspServer, mounts: int, codec: str = "h264") -> list[str]:
    """A clip of the synthetic world at so many addresses of its own."""
    world = SyntheticWorld(load_level("medium"), 9000, fps=FPS)
    pictures = [world.step(masks=False).image for _ in range(LOOP_FRAMES)]
    urls = [server.serve_clip(pictures, fps=FPS, codec=codec)]
    for i in range(1, mounts):
        urls.append(server.add(replace(server.mounts[0], path=f"/clip{i}")))
    return urls


async def measured(engine: Engine, urls: list[str], seconds: float) -> dict[str, Any]:
    """One row: so many cameras, for so long, after all are up."""
    frames: list[TrackedFrame] = []
    cameras = {f"cam{i}": {"url": url} for i, url in enumerate(urls)}
    async with Service(parse_config({"cameras": cameras, "state_dir": None}, "benchmark"), engine) as service:
        async with asyncio.timeout(UP_WITHIN_S):
            while not all(each.processed for each in service.status()):  # noqa: ASYNC110  # polled, as from outside
                await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_S)
        for name in cameras:
            service.hub(name).listen(lambda frame: frames.append(frame) if frame else None)
        before, cpu, began = service.status(), cpu_s(), time.monotonic()
        frames.clear()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        told, cpu, after = list(frames), cpu_s() - cpu, service.status()
    received = sum(b.received - a.received for a, b in zip(before, after, strict=True))
    by_stage: dict[str, list[float]] = defaultdict(list)
    for frame in told:
        for stage, spent_s in frame.stages_s.items():
            by_stage[stage].append(spent_s)
    return {
        "cameras": len(urls),
        "received_per_s": round(received / took, 1),
        "answered_per_s": round(len(told) / took, 1),
        "answered_share": round(len(told) / max(1, received), 3),
        "latency_ms": {f"p{p}": ms([f.latency_s for f in told], p) for p in PERCENTS},
        "stages_ms": {
            stage: {f"p{p}": ms(by_stage[stage], p) for p in PERCENTS}
            for stage in STAGES
            if stage in by_stage
        },
        "cpu_cores": round(cpu / took, 2),
        "paces": sorted({each.pace for each in after}),
    }


def cpu_s() -> float:
    """CPU time of this process and its children, without the RTSP server."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            if str(SCRIPT) not in process.cmdline():
                times = process.cpu_times()
                total += times.user + times.system
    return total


def ms(seconds: list[float], percent: int) -> float:
    """A percentile, by nearest rank, in milliseconds; 0 of nothing."""
    ordered = sorted(seconds)
    return round(1000 * ordered[max(0, -(-percent * len(ordered) // 100) - 1)], 2) if ordered else 0.0


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text; of the stages p50/p95/p99 in milliseconds."""
    shown = [stage for stage in STAGES if any(stage in row["stages_ms"] for row in rows)]
    body = [
        [
            row["cameras"],
            row["received_per_s"],
            row["answered_per_s"],
            *row["latency_ms"].values(),
            row["cpu_cores"],
            *(
                "/".join(f"{value:.0f}" for value in row["stages_ms"].get(stage, {}).values())
                for stage in shown
            ),
        ]
        for row in rows
    ]
    heads = ["cameras", "received/s", "answered/s", "p50 ms", "p95", "p99", "cores", *shown]
    return tabulate(body, headers=heads, disable_numparse=True)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="none", metavar="NAME")
    parser.add_argument("--cameras", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--overlap", action="store_true", help="as `model.overlap`")
    add_outputs(parser)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    warm_up()
    try:
        with tempfile.TemporaryDirectory() as folder, RtspServer(Path(folder)) as server:
            urls = serve_clip(server, max(arguments.cameras))
            for count in arguments.cameras:
                if arguments.model == "none":
                    engine: Engine = NoModel()
                else:
                    engine = load_engine(
                        arguments.model, threads=arguments.threads, overlap=arguments.overlap or None
                    )
                row = asyncio.run(measured(engine, urls[:count], arguments.seconds))
                rows.append(row)
                print(row, flush=True)
                if arguments.json is not None:
                    about = {
                        "model": arguments.model,
                        "threads": arguments.threads,
                        "overlap": arguments.overlap,
                        "processors": os.cpu_count(),
                        "seconds": arguments.seconds,
                    }
                    write_result(arguments.json, {**about, "rows": rows})
    finally:
        cool_down()
    print(table(rows))
    if arguments.plot is not None:
        lines(
            {p: [(row["cameras"], row["latency_ms"][p]) for row in rows] for p in ("p50", "p95", "p99")},
            arguments.plot,
            x="cameras of 640x360 at 25 frames/s",
            y="capture to publication, ms",
            doubling=True,
        )


if __name__ == "__main__":
    main()
