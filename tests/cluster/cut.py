"""The network to a node is cut, and comes back: what runs there must fall silent by itself and never be heard again.

Another cluster than that of the other trials: its second node is in a network namespace, with a cable that is pulled.
Its cameras are synthetic ones, for an RTSP camera would be cut off too, and a worker without pictures is silent anyway.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.cluster.trials import Row, Trials
from tests.cluster.watch import watching
from tests.integration.processes import ServeProcess
from tests.support.cut_off_host import CutOffHost
from tests.support.ray_cluster import RayCluster

CUT_S = 8.0
QUIET_FROM_S = 4.0
"""After so long its lease is over, with time to spare."""
HEARD_FOR_S = 5.0
"""So long is listened after the network is back."""
_ASK = (
    "import sys, urllib.request as u; print(u.urlopen(sys.argv[1] + '/metrics', timeout=3).read().decode())"
)


@dataclass(frozen=True)
class Silence:
    """What a worker did while it was cut off, from `QUIET_FROM_S` on, by its own metrics: results that it published,
    and that it kept to itself.
    """

    published: float
    kept: float


async def cut_network(
    write_config: Callable[[Path, dict[str, str]], Path], folder: Path
) -> tuple[Row, Silence]:
    """The row of that trial."""
    urls = {f"cam{i}": f"synthetic:{i}?size=160x96&fps=5" for i in range(4)}
    config = write_config(folder, urls)
    with (
        CutOffHost() as host,
        RayCluster(nodes=1, apart=host) as cluster,
        ServeProcess(config, "--cluster", cluster.address) as gateway,
    ):
        async with watching(gateway.address) as watch:
            trials = Trials(cluster, gateway.address, watch, frozenset(urls))
            state = await trials.until_well(workers=2)
            worker = next(each for each in state["workers"] if host.address in each["address"])
            await trials.until_has_cameras(worker["worker"])  # who comes later takes load after a while
            silences: list[Silence] = []

            async def while_cut() -> None:
                await asyncio.sleep(QUIET_FROM_S)
                before = await _asked(host, worker["address"])
                await asyncio.sleep(CUT_S - QUIET_FROM_S)
                after = await _asked(host, worker["address"])
                silences.append(Silence(after.published - before.published, after.kept - before.kept))
                host.heal()

            def fault() -> Awaitable[None]:
                host.cut()
                return asyncio.create_task(while_cut())

            row = await trials.failover(f"network to a node cut for {CUT_S:g} s", worker, fault)
            heard_s = asyncio.get_running_loop().time() + HEARD_FOR_S
            await watch.until(lambda: all(watch.newest(camera).at_s > heard_s for camera in urls))
            return replace(row, wrong=watch.wrong()), silences[0]


async def _asked(host: CutOffHost, address: str) -> Silence:
    """The worker's counters, asked on its own machine."""
    command = host.command(sys.executable, "-c", _ASK, address)
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return Silence(
        _sum(r"syncvis_frames_published_total\{[^}]*\} (\S+)", ended.stdout),
        _sum(r'syncvis_frames_dropped_total\{[^}]*cause="not_ours"[^}]*\} (\S+)', ended.stdout),
    )


def _sum(pattern: str, text: str) -> float:
    return sum(map(float, re.findall(pattern, text)))
