"""Workers that are emptied before their machine is switched off: asked to drain, and waited for.

Owns the wait, and what is said where it was in vain. Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from stream.cluster.gateway.directory import AwayError, Control
from stream.cluster.messages import Table, WorkerState
from stream.errors import ClusterError, ConfigError

WAIT_S = 0.5
"""The table is asked for again after so long, changed or not."""


async def drain(
    control: Control, *, workers: Collection[str] = (), node: str = "", within_s: float
) -> dict[str, int]:
    """Have workers drained and wait until they have no cameras: those named, or else all of a node, one that is started
    there meanwhile too. How many cameras each had at most, by worker; none, where a node has no worker.

    Raises ConfigError where there is no worker of a name, and nothing was asked for; ClusterError where some have
    cameras after `within_s`, or the controller does not answer for so long. What was asked for holds then all the same.
    """
    until_s = time.monotonic() + within_s
    had: dict[str, int] = {}
    table = None
    while True:
        try:
            table = await control.table(-2 if table is None else table.version, WAIT_S)
            if not had:
                _check(workers, table)
            left = _chosen(table, workers, node)
            for each in left:
                if (
                    each.worker not in had or not each.draining
                ):  # also where the controller is another one by now
                    await control.drain(each.worker)
                had[each.worker] = max(had.get(each.worker, 0), each.cameras)
            if not any(each.cameras for each in left):
                return had
            problem = _problem(left, table, within_s)
        except AwayError as error:
            problem = f"the cluster's controller has not answered within {within_s:g} s: {error}"
            await asyncio.sleep(WAIT_S)
        if time.monotonic() >= until_s:
            raise ClusterError(problem)


def _chosen(table: Table, workers: Collection[str], node: str) -> list[WorkerState]:
    return [each for each in table.workers if (each.worker in workers if workers else each.node == node)]


def _check(workers: Collection[str], table: Table) -> None:
    there = [each.worker for each in table.workers]
    if unknown := sorted(set(workers) - set(there)):
        raise ConfigError(f"no worker {', '.join(unknown)}: there is {', '.join(there) or 'none'}")


def _problem(left: Collection[WorkerState], table: Table, within_s: float) -> str:
    said = ", ".join(f"{each.worker} has {each.cameras} camera(s)" for each in left if each.cameras)
    names = {each.worker for each in left}
    takes = any(not each.draining and each.worker not in names for each in table.workers)
    return f"not drained within {within_s:g} s: {said}" + ("" if takes else "; no other worker takes any")
