"""The workers on the nodes of a cluster: on each as many as it has room for, started again when they end.

Owns the actors. Tells the book when a process has died for certain: a node that Ray takes for dead may still run.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stream.cluster.spec import Spec
from stream.cluster.worker import Worker, answer_of
from stream.config import ClusterConfig

_log = logging.getLogger(__name__)

PREFIX = "worker"
WAITS_S = 60.0
"""A worker whose process has not begun after so long is said to be late: most likely others use what it asks for."""
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
_NODE_DIGITS = 12


@dataclass(slots=True)
class _Slot:
    """A place for a worker on a node. `rests`: it has none because there are enough, so that Ray sees an idle node."""

    task: asyncio.Task[None] | None = None
    actor: Any = None
    name: str = ""
    rests: bool = False
    failures: int = 0
    again_at_s: float = 0.0
    problem: str = ""


class Crew:
    """`on_death`: told the name of a worker whose process is gone. `worker`: what runs there."""

    def __init__(self, spec: Spec, on_death: Callable[[str], None], worker: type[Worker] = Worker) -> None:
        self._spec, self._on_death, self._worker = spec, on_death, worker
        self._slots: dict[tuple[str, int], _Slot] = {}
        self._nodes: dict[str, Any] = {}
        self._since_s = time.monotonic()

    @property
    def has_looked(self) -> bool:
        """Whether it is known which nodes there are."""
        return bool(self._nodes)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a line each."""
        problems = tuple(slot.problem for slot in self._slots.values() if slot.problem)
        cluster = self._spec.config.cluster
        # Where Ray's autoscaler has been asked, nodes may be on their way.
        waits = cluster.most_workers is not None and time.monotonic() - self._since_s < WAITS_S
        if self._nodes and not waits and not any(_room(node, cluster) for node in self._nodes.values()):
            asked = f"{cluster.worker_cpus:g} CPU" + (
                f" and {cluster.worker_gpus:g} GPU" * bool(cluster.worker_gpus)
            )
            has = ", ".join(_resources(node) for node in self._nodes.values())
            problems += (f"no node has {asked} for a worker (the nodes have {has})",)
        return problems

    @property
    def places(self) -> int:
        """How many workers there should be: as many as nodes have room for, but for what was given back."""
        room = sum(_room(node, self._spec.config.cluster) for node in self._nodes.values())
        return room - sum(slot.rests for slot in self._slots.values())

    def well(self, worker: str) -> None:
        """A worker has reported: what was wrong before it is over."""
        for slot in self._slots.values():
            if slot.name == worker:
                slot.problem = ""

    def give_back(self, worker: str) -> None:
        """End a worker that has nothing to do, and start none in its place until more are needed."""
        for slot in self._slots.values():
            if slot.name == worker and slot.task is not None and not slot.rests:
                _log.info("worker %s is more than is wanted: it is ended", worker)
                slot.rests = True
                ray.kill(slot.actor)

    def need(self, workers: int) -> None:
        """Let so many be started or at work, as far as there are places that were given back."""
        missing = workers - sum(slot.task is not None and not slot.rests for slot in self._slots.values())
        for slot in self._slots.values():
            if missing > 0 and slot.rests:
                slot.rests, missing = False, missing - 1

    async def reconcile(self) -> None:
        """Have workers where there is room, and forget those of nodes that are gone."""
        nodes = await asyncio.to_thread(ray.nodes)
        self._nodes = {node["NodeID"]: node for node in nodes if node["Alive"]}
        if not self._slots:
            await self._find()
        for node_id, node in self._nodes.items():
            for place in range(_room(node, self._spec.config.cluster)):
                slot = self._slots.setdefault((node_id[:_NODE_DIGITS], place), _Slot())
                if slot.task is None and not slot.rests and time.monotonic() >= slot.again_at_s:
                    slot.name = f"{PREFIX}-{node_id[:_NODE_DIGITS]}-{place}-{secrets.token_hex(3)}"
                    self._see_to(slot, self._start(slot.name, node_id))
        alive = {node_id[:_NODE_DIGITS] for node_id in self._nodes}
        for key in [key for key, slot in self._slots.items() if key[0] not in alive and slot.task is None]:
            del self._slots[key]

    def ask(self, workers: int) -> None:
        """Have Ray's autoscaler see to it that there is room for so many workers in all; until another number is asked
        for. Blocks.
        """
        cluster = self._spec.config.cluster
        bundle = {"CPU": cluster.worker_cpus} | ({"GPU": cluster.worker_gpus} if cluster.worker_gpus else {})
        request_resources(bundles=[bundle] * workers)

    def _start(self, name: str, node_id: str) -> Any:
        cluster = self._spec.config.cluster
        actor = ray.remote(self._worker).options(
            name=name,
            lifetime="detached",
            num_cpus=cluster.worker_cpus,
            num_gpus=cluster.worker_gpus,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        return actor.remote(self._spec.packed(), name)

    async def _find(self) -> None:
        """Those of a controller before this one."""
        names = await asyncio.to_thread(ray.util.list_named_actors)
        for name in names:
            parts = name.split("-")
            if parts[0] == PREFIX and len(parts) == 4:
                slot = _Slot(name=name)
                self._slots[parts[1], int(parts[2])] = slot
                self._see_to(slot, ray.get_actor(name))

    def _see_to(self, slot: _Slot, actor: Any) -> None:
        slot.actor = actor
        slot.task = asyncio.create_task(self._tend(slot, actor), name=slot.name)

    async def _tend(self, slot: _Slot, worker: Any) -> None:
        """See a worker to its end."""
        late = asyncio.get_running_loop().call_later(WAITS_S, self._say_late, slot)
        began_s = time.monotonic()
        sign = asyncio.create_task(_first_sign(worker, late), name="first sign")
        try:
            problem = await self._until_end(slot.name, worker)
        finally:
            late.cancel()
            sign.cancel()
            await asyncio.wait([sign])
        slot.problem, slot.task, slot.actor = problem, None, None
        if slot.rests:
            slot.problem, slot.failures, slot.again_at_s = "", 0, 0.0
            return
        slot.failures = 1 if time.monotonic() - began_s > LAST_PAUSE_S else slot.failures + 1
        slot.again_at_s = time.monotonic() + min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** (slot.failures - 1))
        _log.warning("worker %s ended: %s", slot.name, problem or "its process is gone")

    async def _until_end(self, name: str, worker: Any) -> str:
        """Why it cannot work; empty where its process ended."""
        while True:
            try:
                await answer_of(worker.run.remote())
            except ActorUnavailableError:
                await asyncio.sleep(0.2)
            except ActorDiedError as error:
                await self._tell_death(name)
                text = str(error).strip()
                return f"worker {name}: {text.splitlines()[-1]}" if "creation task" in text else ""
            except RayError as error:
                ray.kill(worker)
                self._on_death(name)
                cause = getattr(error, "cause", None) or error
                return f"worker {name}: {str(cause).splitlines()[0]}"

    async def _tell_death(self, name: str) -> None:
        """Where the node lives, its own word that the process ended is certain; else leases have to run out."""
        nodes = await asyncio.to_thread(ray.nodes)
        digits = name.split("-")[1]
        if any(node["Alive"] and node["NodeID"].startswith(digits) for node in nodes):
            self._on_death(name)

    def _say_late(self, slot: _Slot) -> None:
        slot.problem = (
            f"worker {slot.name}: has not begun after {WAITS_S:g} s: others may use what it asks for"
        )


async def _first_sign(worker: Any, late: asyncio.TimerHandle) -> None:
    try:
        await answer_of(worker.pid.remote())
    except RayError:
        return
    late.cancel()


def _room(node: Any, cluster: ClusterConfig) -> int:
    """For how many workers a node is large enough."""
    has = node["Resources"]
    room = min(cluster.workers_per_node, int(has.get("CPU", 0.0) / cluster.worker_cpus))
    return min(room, int(has.get("GPU", 0.0) / cluster.worker_gpus)) if cluster.worker_gpus else room


def _resources(node: Any) -> str:
    has = node["Resources"]
    return f"{has.get('CPU', 0):g} CPU and {has.get('GPU', 0):g} GPU"
