"""Do all faults to a cluster of a head and two nodes on loopback, one after the other, and print what each costs.

    python -m tests.cluster [--cameras 4] [--model NAME] [--trials NAME ...] [--json FILE]

RTSP cameras of GStreamer, a clip of the synthetic world at 5 pictures a second; a gateway, two workers, a Redis, and
somebody who looks at a camera in Chromium. As root, the network to a node is cut too, in a cluster of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from syncvis_online.data.synthetic import SyntheticWorld, load_level
from tests.cluster.cut import cut_network
from tests.cluster.trials import ADMIN, Row, Trials
from tests.cluster.viewer import looking
from tests.cluster.watch import watching
from tests.integration.processes import ServeProcess
from tests.support.cut_off_host import available
from tests.support.ray_cluster import RayCluster
from tests.support.redis_server import RedisServer
from tests.support.rtsp_server import RtspServer

FPS = 5
LOOP_FRAMES = 150
NETWORK = "network"
TRIALS = ("nothing", "gateway", "cameras", "controller", "worker", "stopped", "node", "head", NETWORK)
HEAD = ("fault", "cameras", "without results, s", "a viewer, s", "ids seen again", "twice or out of order")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--trials", nargs="+", choices=TRIALS, default=TRIALS, metavar="NAME", help="of %(default)s"
    )
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RtspServer(Path(folder)) as server:
        rows = asyncio.run(measured(Path(folder), server, arguments))
    print(tabulate([cells(row) for row in rows], HEAD, tablefmt="github"))
    if arguments.json is not None:
        machine = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
        content = {"machine": machine, "model": arguments.model, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(row.wrong for row in rows))


async def measured(folder: Path, server: RtspServer, arguments: argparse.Namespace) -> list[Row]:
    """The rows of the trials that were asked for."""
    rows: list[Row] = []
    if set(arguments.trials) - {NETWORK}:
        await in_one_network(folder, server, arguments, rows)
    if NETWORK in arguments.trials and available():
        row, silence = await cut_network(partial(write_config, model=arguments.model), folder)
        rows.append(row)
        print(*cells(row), silence, sep=" | ", flush=True)
    return rows


async def in_one_network(
    folder: Path, server: RtspServer, arguments: argparse.Namespace, rows: list[Row]
) -> None:
    """All but the cut network, one after the other in one cluster."""
    names = [f"cam{i}" for i in range(arguments.cameras)]
    urls = dict(zip(names, serve_clip(server, arguments.cameras), strict=True))
    config = write_config(folder, urls, model=arguments.model)
    with (
        RedisServer(folder) as redis,
        RayCluster(nodes=2, redis=redis) as cluster,
        ServeProcess(config, "--cluster", cluster.address) as gateway,
        ServeProcess(config, "--cluster", cluster.address) as other,
    ):
        async with watching(gateway.address) as watch, looking(gateway.address, names[0]) as viewer:
            trials = Trials(cluster, gateway.address, watch, frozenset(names), viewer)
            todo: dict[str, Callable[[], Awaitable[Row]]] = {
                "nothing": trials.nothing,
                "gateway": lambda: trials.kill_gateway(other.pid),
                "cameras": trials.add_ten,
                "controller": trials.kill_controller,
                "worker": trials.kill_worker,
                "stopped": trials.stop_worker,
                "node": trials.kill_node,
                "head": trials.kill_head,
            }
            for name in (each for each in TRIALS if each in todo and each in arguments.trials):
                await trials.until_well(workers=len(cluster.nodes))
                rows.append(await todo[name]())
                print(*cells(rows[-1]), sep=" | ", flush=True)


def write_config(folder: Path, urls: dict[str, str], *, model: str) -> Path:
    """As a person would."""
    content: dict[str, Any] = {
        "cameras": {name: {"url": url} for name, url in urls.items()},
        "model": {"name": model, "threads": 1},
        "server": {"port": 0, "admin_tokens": [ADMIN]},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def serve_clip(server: RtspServer, mounts: int) -> list[str]:
    """A clip of the synthetic world at so many addresses of its own."""
    world = SyntheticWorld(load_level("medium"), 9000, fps=FPS)
    urls = [server.serve_clip([world.step(masks=False).image for _ in range(LOOP_FRAMES)], fps=FPS, gop=FPS)]
    for i in range(1, mounts):
        urls.append(server.add(replace(server.mounts[0], path=f"/clip{i}")))
    return urls


def cells(row: Row) -> Sequence[object]:
    """One line of the table."""
    away, viewer = ("–" if each is None else f"{each:.1f}" for each in (row.away_s, row.viewer_s))
    return (row.name, row.cameras, away, viewer, f"{row.kept} of {row.ids}" if row.ids else "–", row.wrong)


if __name__ == "__main__":
    raise SystemExit(main())
