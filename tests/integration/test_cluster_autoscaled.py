"""Ray's own autoscaler starts nodes when cameras want them, and takes them away when they do not: nodes that are
processes of this machine, the controller, workers and gateway as they are.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.trials import ADMIN
from tests.integration.processes import ServeProcess, write_config
from tests.support.autoscaled_ray import AutoscaledRay
from tests.support.ray_cluster import RayCluster

pytestmark = pytest.mark.integration

WITHIN_S = 120.0
FPS = 25


@pytest.mark.timeout(400)
async def test_nodes_come_when_cameras_want_them_and_go_when_they_do_not(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        {"door": "synthetic:3?fps=5&size=160x96"},
        server={"port": 0, "admin_tokens": [ADMIN]},
        # A longer lease: reports that a busy machine makes late are no failovers.
        cluster={"most_workers": 2, "fewer_after_s": 5, "lease_s": 10},
    )
    admin = {"Authorization": f"Bearer {ADMIN}"}
    with AutoscaledRay(most=2) as cluster, ServeProcess(config, "--cluster", cluster.address) as gateway:
        async with httpx.AsyncClient(base_url=gateway.address, headers=admin) as http:
            state = await until(http, lambda state: runs(state, workers=1) and capacity_wps(state) > 0)
            assert nodes(cluster) == 2, "the head, and a node that was not there at first"
            more = [f"more{i}" for i in range(math.ceil(capacity_wps(state) / FPS) + 1)]
            for name in more:
                body = {"name": name, "url": f"synthetic:5?size=160x96&fps={FPS}"}
                (await http.post("/api/cameras", json=body)).raise_for_status()
            grown = await until(http, lambda state: runs(state, workers=2))
            for name in more:
                (await http.delete(f"/api/cameras/{name}")).raise_for_status()
            state = await until(http, lambda state: runs(state, workers=1) and nodes(cluster) == 2)
            assert state["places"] == 1, "none is missing"
            assert state["failovers"] == grown["failovers"], "who had cameras let go of them first"
            assert state["problems"] == []
        assert gateway.end()[0] == 0


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves the pipes of the nodes that it starts
async def test_a_node_that_was_given_back_goes_on_where_the_other_one_is_lost(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        {"door": "synthetic:3?fps=5&size=160x96"},
        cluster={"most_workers": 2, "fewer_after_s": 3},
    )
    with RayCluster(nodes=2) as cluster, ServeProcess(config, "--cluster", cluster.address) as gateway:
        async with httpx.AsyncClient(base_url=gateway.address) as http:
            state = await until(http, lambda state: runs(state, workers=1) and state["places"] == 1)
            (worker,) = state["workers"]
            lost = next(node for node in cluster.nodes if node.node_id == worker["node"])
            await asyncio.to_thread(cluster.kill, lost)
            state = await until(
                http, lambda state: is_up(state, "door") and owner(state, "door") != worker["worker"]
            )
            (left,) = cluster.nodes
            (node,) = (each["node"] for each in state["workers"] if each["worker"] == owner(state, "door"))
            assert node == left.node_id
        assert gateway.end()[0] == 0


def runs(state: dict[str, Any], workers: int) -> bool:
    """Whether so many workers are there, and all cameras are on one and up."""
    owners = state["cameras"].values()
    return len(state["workers"]) == workers and all(owner and owner["up"] for owner in owners)


def is_up(state: dict[str, Any], camera: str) -> bool:
    """Whether a camera is on a worker and up."""
    return bool(state["cameras"][camera] and state["cameras"][camera]["up"])


def owner(state: dict[str, Any], camera: str) -> str:
    """Which worker has a camera."""
    return str(state["cameras"][camera]["worker"])


def capacity_wps(state: dict[str, Any]) -> float:
    """What all workers together can do, as far as it has been measured."""
    return sum(each["capacity_wps"] or 0.0 for each in state["workers"])


async def until(http: httpx.AsyncClient, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask where everything is until something is so; what was answered last is told where it never is."""
    state: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WITHIN_S):
            while not (state and await asyncio.to_thread(true, state)):
                await asyncio.sleep(0.2)  # polled, as from outside
                state = (await http.get("/api/cluster")).json()
    except TimeoutError:
        pytest.fail(f"not within {WITHIN_S:g} s: {state}")
    return state


def nodes(cluster: AutoscaledRay) -> int:
    """How many nodes Ray has, the head among them."""
    from ray._raylet import GcsClient

    found = GcsClient(address=cluster.address).get_all_node_info()
    return sum(node.state == 0 for node in found.values())
