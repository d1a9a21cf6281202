"""How a cluster's controller and its network grow, with failures, up to 10,000 cameras on 500 workers.

    python -m benchmarks.cluster_simulation [--workers 5 50 500] [--json FILE] [--plot FILE]

The real decisions, records and messages of stream.cluster, in simulated time and without Ray; workers and networks take
no time. On each worker 20 cameras of 25 windows a second, and it can do 700; a snapshot of 97 kB of each a second.
"""

from __future__ import annotations

import argparse
import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from benchmarks.simulated_cluster import SETTINGS, SimulatedCluster
from stream.cluster.gateway.directory import Directory
from stream.cluster.gateway.numbers import GatewayMetrics
from syncvis_online.evaluation.run import write_result

CAMERAS_EACH = 20
CAPACITY_WPS = 700.0
STATE_BYTES = 97_000
LEASE_S = 3.0
ZONE = 0.2

Cameras = dict[str, float]
"""Since when each waits."""


class Trial:
    """One size of cluster, fault after fault."""

    def __init__(self, workers: int) -> None:
        self.size = workers
        gc.collect()
        self.before_bytes = psutil.Process().memory_info().rss
        self.cluster = SimulatedCluster(LEASE_S, STATE_BYTES)
        self.rows: list[dict[str, Any]] = []
        for i in range(workers):
            self.cluster.add_worker(f"worker-{i:04}", CAPACITY_WPS, 2.0 * i / workers)

    def all(self) -> list[dict[str, Any]]:
        """Every phase, in order."""
        self.phase("all cameras added at once", 6.0, lambda: self.add(self.size * CAMERAS_EACH))
        self.phase("nothing happens", 5.0, dict)
        self.phase("a node lost", 5.0, lambda: self.cluster.lose(self.first(1)))
        zone = max(1, round(ZONE * self.size))
        self.phase(f"a zone lost: {zone} workers", 5.0, lambda: self.cluster.lose(self.first(zone)))
        self.phase(f"{zone} workers come", 30.0, lambda: self.come(zone))
        self.phase(
            "a tenth more cameras in one second", 5.0, lambda: self.add(self.size * CAMERAS_EACH // 10)
        )
        self.phase("the controller is away for 4 s", 7.0, self.restart)
        return self.rows

    def first(self, count: int) -> list[str]:
        """Some of the workers."""
        return list(self.cluster.workers)[:count]

    def add(self, count: int) -> Cameras:
        """More cameras; all within a second."""
        began_s, known = self.cluster.now_s, len(self.cluster.book)
        names = [f"camera-{known + i:05}" for i in range(count)]
        for i, name in enumerate(names):
            self.cluster.at(began_s + i / count, partial(self._put, name))
        return {name: began_s + i / count for i, name in enumerate(names)}

    def _put(self, name: str) -> None:
        with self.cluster.timed("cameras"):
            self.cluster.book.put(name, SETTINGS)

    def come(self, count: int) -> Cameras:
        """New machines."""
        for i in range(count):
            self.cluster.add_worker(f"new-{i:04}", CAPACITY_WPS, self.cluster.now_s + i / count)
        return {}

    def restart(self) -> Cameras:
        """Nobody publishes anything when their leases are over, until it is back."""
        since_s = dict.fromkeys(self.cluster.book.cameras(), self.cluster.now_s)
        self.cluster.restart_controller(4.0)
        return since_s

    def phase(self, name: str, seconds: float, fault: Callable[[], Cameras]) -> None:
        """Do something; measure for a while."""
        print(f"{self.size} workers: {name}", flush=True)
        cluster, book = self.cluster, self.cluster.book
        cluster.cpu_s, cluster.counts, cluster.sizes = Counter(), Counter(), Counter()
        before, writes = book.table(), cluster.storage.writes
        began_s = cluster.now_s
        waiting = fault()
        cluster.run(began_s + seconds)
        held = [camera for camera, _ in cluster.holders()]
        assert len(held) == len(set(held)), "two publish one camera"
        after = cluster.book.table()
        waited_s = sorted(
            at_s - since_s
            for camera, since_s in waiting.items()
            if (at_s := cluster.published_s.get(camera, 0.0)) > since_s
        )
        self.rows.append(
            {
                "phase": name,
                "workers": len(cluster.workers),
                "cameras": len(cluster.book),
                "held": len(held),
                "waited": len(waiting),
                "waited_p50_s": round(waited_s[len(waited_s) // 2], 2) if waited_s else None,
                "waited_max_s": round(waited_s[-1], 2) if waited_s else None,
                "never_back": len(waiting) - len(waited_s),
                "moves": after.moves - (before.moves if cluster.book is book else 0),
                "cpu_cores": {k: round(v / seconds, 4) for k, v in sorted(cluster.cpu_s.items())},
                "messages_per_s": {k: round(v / seconds, 1) for k, v in sorted(cluster.counts.items())},
                "megabytes_per_s": {k: round(v / seconds / 1e6, 3) for k, v in sorted(cluster.sizes.items())},
                "writes_per_s": round((cluster.storage.writes - writes) / seconds, 1),
                "table_bytes": round(cluster.sizes["table"] / max(1, cluster.counts["table"])),
                "gateway_series": gateway_series(cluster),
                "memory_mb": round((psutil.Process().memory_info().rss - self.before_bytes) / 1e6),
            }
        )


class _Table:
    """A gateway that was told once."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._table = cluster.book.table()

    async def table(self, version: int, wait_s: float) -> Any:
        """See `Control`."""
        return self._table


def gateway_series(cluster: SimulatedCluster) -> int:
    """How many time series a gateway has for Prometheus."""
    directory = Directory(_Table(cluster))  # type: ignore[arg-type]
    directory.table = cluster.book.table()
    families = GatewayMetrics(directory).registry.collect()
    return sum(len(family.samples) for family in families)


def text(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    body = [
        [
            *(row["workers"], row["cameras"], row["phase"]),
            *(row["waited"] or "", row["waited_p50_s"], row["waited_max_s"]),
            f"{sum(row['cpu_cores'].values()):.3f}",
            f"{sum(value for name, value in row['cpu_cores'].items() if 'pickling' not in name):.3f}",
            *(row["messages_per_s"].get("report", 0), f"{row['megabytes_per_s'].get('report', 0):.1f}"),
            *(
                f"{row['megabytes_per_s'].get('table', 0):.2f}",
                row["writes_per_s"],
                row["moves"],
                row["memory_mb"],
            ),
        ]
        for row in rows
    ]
    heads = [
        *("workers", "cameras", "what", "cameras met", "p50 s", "max s", "cores", "without pickling"),
        *("reports/s", "MB/s", "MB/s a gateway", "writes/s", "moves", "MB"),
    ]
    return tabulate(body, headers=heads)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """What grows, where nothing happens."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    quiet = [row for row in rows if row["phase"] == "nothing happens"]
    cameras = [row["cameras"] for row in quiet]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for kind in quiet[-1]["cpu_cores"]:
        left.plot(cameras, [row["cpu_cores"].get(kind, 0) for row in quiet], marker="o", label=kind)
    left.set(xlabel="cameras", ylabel="controller, cores", xscale="log", yscale="log")
    left.legend()
    for kind in quiet[-1]["megabytes_per_s"]:
        right.plot(cameras, [row["megabytes_per_s"].get(kind, 0) for row in quiet], marker="o", label=kind)
    right.set(xlabel="cameras", ylabel="MB/s", xscale="log", yscale="log")
    right.legend()
    figure.savefig(path)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[5, 50, 500])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for workers in arguments.workers:
        rows += Trial(workers).all()
        print(text(rows), flush=True)
    if arguments.json:
        write_result(arguments.json, {"rows": rows})
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
