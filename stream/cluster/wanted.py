"""How many workers a cluster's cameras ask for: what Ray's autoscaler is told. Pure."""

from __future__ import annotations

import math

from stream.cluster.cameras import ASSUMED_DEMAND_WPS
from stream.cluster.messages import Table
from stream.cluster.placement import ASSUMED_WPS, FULL

ROOMY = 0.6
"""Workers that are asked for less than this share of what they can do are too many."""
MORE_AFTER_S = 10.0
"""Longer than a failover, in which cameras ask for nothing or for what is guessed."""


class Wanted:
    """`least`, `most`: never fewer, never more than so many. `fewer_after_s`: so long all have been too empty before
    fewer are wanted. Give it the table now and then.
    """

    def __init__(self, least: int, most: int, fewer_after_s: float) -> None:
        self._least, self._most, self._fewer_after_s = least, most, fewer_after_s
        self._workers = 0
        self._since_s: float | None = None
        self._more = False

    def after(self, table: Table, now_s: float) -> int:
        """How many workers are wanted. It changes when for a while all would be too full, or too empty, with as many as
        are wanted now; at first it is how many there is room for.
        """
        self._workers = self._workers or self._within(table.places)
        least, enough = self._bounds(table)
        target = min(max(self._workers, least), max(least, enough))
        more = target > self._workers
        if target == self._workers or more != self._more or self._since_s is None:
            self._since_s = None if target == self._workers else now_s
            self._more = more
            return self._workers
        if now_s - self._since_s >= (MORE_AFTER_S if more else self._fewer_after_s):
            self._workers, self._since_s = target, None
        return self._workers

    def _bounds(self, table: Table) -> tuple[int, int]:
        """Fewer than this would be too full, more than that too empty."""
        nowhere = sum(owner is None for owner in table.cameras.values())
        demand_wps = sum(each.demand_wps for each in table.workers) + nowhere * ASSUMED_DEMAND_WPS
        can = [each.capacity_wps or ASSUMED_WPS for each in table.workers] or [ASSUMED_WPS]
        each_wps = sum(can) / len(can)
        least, enough = (math.ceil(demand_wps / (share * each_wps)) for share in (FULL, ROOMY))
        return self._within(least), self._within(enough)

    def _within(self, workers: int) -> int:
        return max(self._least, min(self._most, workers))
