"""Whether throughput grows in step with workers: a real Ray cluster on loopback, with a model that only takes time.

    python -m benchmarks.cluster_throughput [--workers 1 2 4] [--cameras 12] [--seconds 20] [--json FILE]

Each window takes 100 ms in which its worker's engine sleeps: 10 windows a second a worker, and no processor. Cameras
are synthetic, 160 x 96 at 5 frames a second, so they ask for more than all workers can do. What is counted is what one
reader of all tracks gets at a gateway, a process of its own, whose processor time is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import yaml
from tabulate import tabulate

from benchmarks.no_model import NoModel
from stream.cluster import connection
from stream.cluster.worker import Worker
from stream.config import load_config
from stream.types import EngineAnswer, Window
from syncvis_online.evaluation.run import write_result
from tests.cluster.watch import Watch, watching
from tests.integration.processes import ServeProcess
from tests.support.ray_cluster import RayCluster

if TYPE_CHECKING:
    from stream.config import ServeConfig
    from stream.engine import Engine
    from stream.identities import IdLedger

WINDOW_S = 0.1
FPS = 5
SETTLE_S = 5.0
ADMIN = "0123456789abcdef-admin"
READY_WITHIN_S = 120.0


class SlowModel(NoModel):
    """Takes its time, and no processor."""

    def process(self, window: Window) -> EngineAnswer:
        """See `NoModel`."""
        time.sleep(WINDOW_S)
        return super().process(window)


class SlowWorker(Worker):
    """With that model."""

    async def load(self, config: ServeConfig, ledger: IdLedger) -> Engine:
        """See `Worker`."""
        return SlowModel()


def measured(workers: int, cameras: int, seconds: float, folder: Path) -> dict[str, Any]:
    """One row."""
    path = folder / f"{workers}.yaml"
    path.write_text(yaml.safe_dump({"cameras": {}, "server": {"port": 0, "admin_tokens": [ADMIN]}}))
    with RayCluster(nodes=workers) as cluster:
        starter = [
            sys.executable,
            "-m",
            "benchmarks.cluster_throughput",
            "--start",
            cluster.address,
            str(path),
        ]
        subprocess.run(starter, check=True, timeout=READY_WITHIN_S)
        with ServeProcess(path, "--cluster", cluster.address) as gateway:
            return asyncio.run(_watched(gateway, workers, cameras, seconds))


def start(address: str, path: str) -> None:
    """Have the cluster run these workers, before any gateway would start others."""
    connection.connect(address)
    asyncio.run(connection.start(load_config(Path(path)), connection.RayControl(address), SlowWorker))


async def _watched(gateway: ServeProcess, workers: int, cameras: int, seconds: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=gateway.address, headers=headers, timeout=30) as http:
        await _until_there(http, workers)
        for i in range(cameras):
            body = {"name": f"cam{i}", "url": f"synthetic:{i}?size=160x96&fps={FPS}"}
            (await http.post("/api/cameras", json=body)).raise_for_status()
        async with watching(gateway.address) as watch:
            await watch.until(lambda: len(watch.results) == cameras, READY_WITHIN_S)
            await asyncio.sleep(SETTLE_S)
            process = psutil.Process(gateway.pid)
            before, cpu_s, began_s = _results(watch), _cpu_s(process), time.monotonic()
            await asyncio.sleep(seconds)
            took_s = time.monotonic() - began_s
            results, cpu_s = _results(watch) - before, _cpu_s(process) - cpu_s
        placed = [each["cameras"] for each in (await http.get("/api/cluster")).json()["workers"]]
    return {
        "workers": workers,
        "cameras_each": sorted(placed),
        "results_per_s": round(results / took_s, 1),
        "of_what_they_can": round(results / took_s / (workers / WINDOW_S), 3),
        "gateway_cores": round(cpu_s / took_s, 4),
        "gateway_ms_a_result": round(1000 * cpu_s / max(1, results), 2),
        "load": round(os.getloadavg()[0], 1),
        "wrong": watch.wrong(),
    }


async def _until_there(http: httpx.AsyncClient, workers: int) -> None:
    """Cameras are given to all of the workers only where all are there. Raises TimeoutError."""
    async with asyncio.timeout(READY_WITHIN_S):
        while len((await http.get("/api/cluster")).json()["workers"]) < workers:  # noqa: ASYNC110  # from outside
            await asyncio.sleep(0.2)


def _results(watch: Watch) -> int:
    return sum(len(results) for results in watch.results.values())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--cameras", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        start(*arguments.start)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for workers in arguments.workers:
            rows.append(measured(workers, arguments.cameras, arguments.seconds, Path(folder)))
            print(tabulate(rows, headers="keys"), flush=True)
            if arguments.json:
                write_result(arguments.json, {"rows": rows, "window_s": WINDOW_S, "fps": FPS})


if __name__ == "__main__":
    # Ray's workers import this module by its name, not as __main__.
    from benchmarks.cluster_throughput import main as run

    run()
