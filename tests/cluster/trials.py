"""What is done to a cluster, and what is measured of it.

Each trial waits until all is well, does its fault, and waits until the cameras that it met are back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx

from tests.cluster.viewer import Viewer
from tests.cluster.watch import Result, Watch
from tests.support.ray_cluster import RayCluster

STEADY_S = 1.0
"""So long all cameras send results before anything is done."""
STOPPED_S = 5.0
WELL_WITHIN_S = 90.0


@dataclass(frozen=True)
class Row:
    """`away_s`: from the last result of the camera's worker to the first of the next one, of the slowest camera; where
    none should move, the longest pause; None where nothing was done. `kept`, `ids`: how many of the ids seen just
    before were seen again within 2 s, of how many. `wrong`: results there twice or out of order. `viewer_s`: how
    long the picture of somebody stood still who looked at a camera that was met.
    """

    name: str
    cameras: int
    away_s: float | None
    kept: int
    ids: int
    wrong: int
    viewer_s: float | None = None


@dataclass
class Trials:
    """A cluster, a gateway of it, who reads there, and perhaps who looks there at the first camera by name."""

    cluster: RayCluster
    address: str
    watch: Watch
    cameras: frozenset[str]
    viewer: Viewer | None = None

    async def state(self) -> dict[str, Any]:
        """As the gateway says."""
        async with httpx.AsyncClient() as http:
            answer: dict[str, Any] = (await http.get(f"{self.address}/api/cluster")).json()
            return answer

    async def until_well(self, workers: int) -> dict[str, Any]:
        """Wait until so many workers are there, all cameras are known, and have sent results for a while."""
        async with asyncio.timeout(WELL_WITHIN_S):
            while not is_well(await self.state(), workers):  # noqa: ASYNC110  # polled, as from outside
                await asyncio.sleep(0.1)
            began_s = time.monotonic()
            await self.watch.until(
                lambda: all(
                    any(r.at_s > began_s + STEADY_S for r in self.watch.results.get(camera, []))
                    for camera in self.cameras
                )
            )
        return await self.state()

    async def until_has_cameras(self, worker: str) -> None:
        """Wait until a worker has cameras, and all send results."""
        async with asyncio.timeout(WELL_WITHIN_S):
            while not any(  # noqa: ASYNC110  # polled, as from outside
                owner and owner["worker"] == worker for owner in (await self.state())["cameras"].values()
            ):
                await asyncio.sleep(0.1)
        await self.until_well(len((await self.state())["workers"]))

    async def failover(
        self, name: str, worker: dict[str, Any], fault: Callable[[], Awaitable[None] | None]
    ) -> Row:
        """Do something to a worker that takes its cameras from it; measure until they are all back."""
        state = await self.state()
        met = [
            name for name, owner in state["cameras"].items() if owner and owner["worker"] == worker["worker"]
        ]
        assert met, "a fault that meets no camera would show nothing"
        before = {camera: self.watch.newest(camera) for camera in met}
        began_s, wall_s = time.monotonic(), time.time()
        waiting = fault()
        try:
            await self.watch.until(
                lambda: all(self.watch.after(camera, began_s, before[camera].epoch) for camera in met)
            )
        finally:
            if waiting is not None:
                await waiting
        first = {camera: self.watch.after(camera, began_s, before[camera].epoch)[0] for camera in met}
        last = {
            camera: max(r.at_s for r in self.watch.results[camera] if r.epoch < first[camera].epoch)
            for camera in met
        }
        until_s = max(result.at_s for result in first.values()) + 2.0
        await self.watch.until(lambda: all(self.watch.newest(camera).at_s > until_s for camera in met))
        kept = ids = 0
        for camera in met:
            again = seen(self.watch.after(camera, began_s, before[camera].epoch), first[camera].at_s + 2.0)
            kept, ids = kept + len(before[camera].ids & again), ids + len(before[camera].ids)
        away_s = max(first[camera].at_s - last[camera] for camera in met)
        looked = self.viewer if min(self.cameras) in met else None
        viewer_s = None if looked is None else await looked.back_within_s(wall_s)
        return Row(name, len(met), away_s, kept, ids, self.watch.wrong(), viewer_s)

    def watched(self, state: dict[str, Any]) -> dict[str, Any]:
        """The worker whose camera somebody looks at; where nobody does, the one with the most."""
        owner = state["cameras"][min(self.cameras)]
        looked = [each for each in state["workers"] if owner and each["worker"] == owner["worker"]]
        return looked[0] if self.viewer is not None and looked else fullest(state)

    async def kill_worker(self) -> Row:
        """A worker's process ends at once."""
        worker = self.watched(await self.state())
        return await self.failover(
            "worker killed (kill -9)", worker, lambda: os.kill(worker["pid"], signal.SIGKILL)
        )

    async def stop_worker(self) -> Row:
        """A worker's process stops for longer than its lease and goes on as if nothing had been."""
        worker = self.watched(await self.state())

        async def go_on() -> None:
            await asyncio.sleep(STOPPED_S)
            os.kill(worker["pid"], signal.SIGCONT)

        def fault() -> Awaitable[None]:
            os.kill(worker["pid"], signal.SIGSTOP)
            return asyncio.create_task(go_on())

        return await self.failover(f"worker stopped for {STOPPED_S:g} s (SIGSTOP, SIGCONT)", worker, fault)

    async def kill_node(self) -> Row:
        """A node's processes end at once."""
        worker = self.watched(await self.state())
        node = next(each for each in self.cluster.nodes if each.node_id == worker["node"])
        return await self.failover(
            "node killed", worker, lambda: asyncio.create_task(asyncio.to_thread(self.cluster.kill, node))
        )

    async def drain_worker(self) -> Row:
        """A worker is emptied in good order."""
        worker = fullest(await self.state())

        async def drain() -> None:
            async with httpx.AsyncClient() as http:
                url = f"{self.address}/api/cluster/workers/{worker['worker']}/drain"
                (await http.post(url, headers={"Authorization": f"Bearer {ADMIN}"})).raise_for_status()

        return await self.failover("worker drained", worker, lambda: asyncio.create_task(drain()))

    async def kill_controller(self) -> Row:
        """The controller's process ends at once: Ray starts it again, and cameras get back their ids."""

        async def kill(pid: int) -> None:
            os.kill(pid, signal.SIGKILL)

        return await self._without_controller("controller killed (kill -9)", kill)

    async def kill_head(self) -> Row:
        """The head's processes end at once, Ray's control store among them; another one is started at its address."""

        async def kill(pid: int) -> None:
            await asyncio.to_thread(self.cluster.kill_head)
            await asyncio.to_thread(self.cluster.start_head)

        return await self._without_controller("head killed (kill -9), with Redis", kill)

    async def _without_controller(self, name: str, kill: Callable[[int], Awaitable[None]]) -> Row:
        """Measure until the controller is another process, and all cameras send results for a while."""
        state = await self.state()
        before = {camera: self.watch.newest(camera) for camera in self.cameras}
        began_s, pid = time.monotonic(), state["controller_pid"]
        await kill(pid)
        async with asyncio.timeout(WELL_WITHIN_S):
            while (state := await self.state())["controller_away"] or state["controller_pid"] == pid:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        back_s = time.monotonic() - began_s
        until_s = time.monotonic() + 4.0
        await self.watch.until(
            lambda: all(self.watch.newest(camera).at_s > until_s for camera in self.cameras)
        )
        moved = [each for each, result in before.items() if self.watch.newest(each).epoch != result.epoch]
        kept, away_s = 0, 0.0
        for camera, result in before.items():
            came = self.watch.after(camera, began_s, result.epoch if camera in moved else 0)
            kept += len(result.ids & seen(came, came[0].at_s + 2.0))
            times = [each.at_s for each in self.watch.after(camera, result.at_s - 1.0)]
            away_s = max(away_s, *(b - a for a, b in pairwise(times)))
        ids = sum(len(r.ids) for r in before.values())
        return Row(
            f"{name}, back after {back_s:.1f} s",
            *(len(moved), away_s, kept, ids, self.watch.wrong()),
        )

    async def nothing(self, seconds: float = 4.0) -> Row:
        """What to compare with: so many of the ids are seen again after so long when nothing happens."""
        began_s = time.monotonic()
        before = {camera: self.watch.newest(camera) for camera in self.cameras}
        until_s = began_s + seconds + 2.0
        await self.watch.until(lambda: all(self.watch.newest(c).at_s > until_s for c in self.cameras))
        kept = sum(
            len(result.ids & seen(self.watch.after(camera, began_s + seconds), until_s))
            for camera, result in before.items()
        )
        ids = sum(len(result.ids) for result in before.values())
        return Row(f"nothing, looked at again {seconds:g} s later", 0, None, kept, ids, self.watch.wrong())

    async def add_ten(self) -> Row:
        """Ten cameras are added in one second, and removed again."""
        names = [f"new{i}" for i in range(10)]
        headers = {"Authorization": f"Bearer {ADMIN}"}
        began_s = time.monotonic()
        async with httpx.AsyncClient(base_url=self.address, headers=headers) as http:
            for name in names:
                body = {"name": name, "url": "synthetic:5?size=160x96&fps=1"}
                (await http.post("/api/cameras", json=body)).raise_for_status()
            asked_s = time.monotonic() - began_s
            await self.watch.until(lambda: all(name in self.watch.results for name in names))
            first_s = max(self.watch.results[name][0].at_s for name in names) - began_s
            for name in names:
                (await http.delete(f"/api/cameras/{name}")).raise_for_status()
        return Row(f"ten cameras added in {asked_s:.2f} s", 10, first_s, 0, 0, self.watch.wrong())

    async def kill_gateway(self, pid: int) -> Row:
        """Another gateway's process ends at once."""
        os.kill(pid, signal.SIGKILL)
        killed_s = time.monotonic()
        await self.watch.until(lambda: all(self.watch.newest(c).at_s > killed_s + 3.0 for c in self.cameras))
        came = [[r.at_s for r in self.watch.after(camera, killed_s - 1.0)] for camera in self.cameras]
        pause_s = max(b - a for times in came for a, b in pairwise(times))
        return Row("another gateway killed: longest pause", 0, pause_s, 0, 0, self.watch.wrong())


ADMIN = "0123456789abcdef-admin"


def is_well(state: dict[str, Any], workers: int) -> bool:
    """Whether so many workers are there, and every camera is on one and could go on at another."""
    owners = state["cameras"].values()
    there = len(state["workers"]) >= workers and not state["controller_away"]
    return there and all(owner and owner["can_go_on"] for owner in owners)


def seen(results: Iterable[Result], until_s: float) -> frozenset[int]:
    """All ids on results up to a time."""
    return frozenset().union(*(result.ids for result in results if result.at_s <= until_s))


def fullest(state: dict[str, Any]) -> dict[str, Any]:
    """The worker with the most cameras."""
    worker: dict[str, Any] = max(state["workers"], key=lambda each: each["cameras"])
    return worker
