"""A real Ray cluster of three nodes, real RTSP cameras: workers and nodes die, and results go on, each once, in order,
with the ids that they had.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster.trials import ADMIN, Trials
from tests.cluster.watch import watching
from tests.integration.processes import COMMAND, ServeProcess, write_config
from tests.support.ray_cluster import RayCluster
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration

SECTION = {"most_workers": 2}


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves the pipes of the nodes that it starts
async def test_cameras_outlive_workers_and_nodes(tmp_path: Path, rtsp_server: RtspServer) -> None:
    # A still picture: an untrained model's ids would change by themselves with what is on it.
    url = rtsp_server.serve_clip(index_frames(1) * 25, fps=5, gop=5)
    config = write_config(
        tmp_path,
        {"door": url, "yard": url},
        server={"port": 0, "admin_tokens": [ADMIN]},
        tracker={"duplicate_iou": 1.0, "min_area": 1},
        cluster=SECTION,
    )
    with RayCluster(nodes=2) as cluster, ServeProcess(config, "--cluster", cluster.address) as gateway:
        async with watching(gateway.address) as watch:
            trials = Trials(cluster, gateway.address, watch, frozenset({"door", "yard"}))
            await trials.until_well(workers=2)
            rows = [await trials.kill_worker()]
            other = write_config(
                folder_of(tmp_path, "other"), {"door": url}, pipeline={"stride": 2}, cluster=SECTION
            )
            refused = asyncio.create_task(said(other, cluster.address))
            await trials.until_well(workers=2)
            assert "was started with another model, pipeline" in await refused
            rows.append(await trials.stop_worker())
            await trials.until_well(workers=2)
            rows.append(await trials.kill_node())
        print(*rows, sep="\n")
        assert [row.wrong for row in rows] == [0] * len(rows)
        for row in rows:
            assert row.kept == row.ids >= 1, row
        assert asked_of_autoscaler(cluster.address) == [{"CPU": 1.0}] * 2
        assert gateway.end()[0] == 0
        assert "stopped: " in await said(config, cluster.address, "--stop-cluster")
        without = write_config(
            folder_of(tmp_path, "without"), {"door": url}, model={"name": "/no/such.safetensors"}
        )
        assert "/no/such.safetensors" in await said(without, cluster.address)


def asked_of_autoscaler(address: str) -> list[dict[str, float]]:
    """Where Ray's autoscaler looks for what is asked of it."""
    from ray._raylet import GcsClient
    from ray.autoscaler._private.constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL

    found = GcsClient(address=address).internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL, None)
    return list(json.loads(found or b"[]"))


def folder_of(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


async def said(config: Path, address: str, *arguments: str) -> str:
    """All that the command said until it ended."""
    command = [*COMMAND, "serve", str(config), "--cluster", address, *arguments]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=100
    )
    return f"{ended.stdout}{ended.stderr}"
