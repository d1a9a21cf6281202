"""Which worker gets a camera, and which camera had better be elsewhere: by what workers can do, not by how many they
have.

Owns the rules. Pure: knows neither leases nor time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

ASSUMED_WPS = 50.0
"""Windows a second of a worker, where none has been measured."""
FULL = 0.9
"""A worker that is asked for more of what it can do has too much."""
UNEVEN = 0.3
"""So much more of what it can do one worker may be asked for than another."""
WORTH = 0.1
"""A move is worth its interruption where the fuller of both is relieved of so much, or of all of a smaller camera."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A worker to place on. `capacity_wps`: None where it was not measured yet. `cameras`: what each asks for."""

    worker: str
    capacity_wps: float | None
    cameras: Mapping[str, float]
    draining: bool = False

    @property
    def demand_wps(self) -> float:
        """What all its cameras ask for."""
        return sum(self.cameras.values())


@dataclass(frozen=True, slots=True)
class Move:
    """A camera that should go from one worker to another."""

    camera: str
    source: str
    target: str


def capacities_of(places: Sequence[Place]) -> list[float]:
    """Windows a second of each: as measured, or else as the others'."""
    measured = [each.capacity_wps for each in places if each.capacity_wps]
    assumed_wps = median(measured) if measured else ASSUMED_WPS
    return [place.capacity_wps or assumed_wps for place in places]


class Loads:
    """How full each of many workers is, while camera after camera is placed on them."""

    def __init__(self, places: Sequence[Place]) -> None:
        capacities = dict(zip(places, capacities_of(places), strict=True))
        self._open = sorted((place for place in places if not place.draining), key=lambda place: place.worker)
        self._index = {place.worker: i for i, place in enumerate(self._open)}
        self._demands_wps = np.array([place.demand_wps for place in self._open])
        self._capacities_wps = np.array([capacities[place] for place in self._open])

    def takes(self, worker: str) -> bool:
        """Whether a worker is there, and takes cameras."""
        return worker in self._index

    def best(self, demand_wps: float) -> str | None:
        """Who is the least full with one more camera, the first by name of several; None where nobody takes any."""
        if not self._open:
            return None
        after = (self._demands_wps + demand_wps) / self._capacities_wps
        return self._open[int(np.argmin(after))].worker

    def share(self, worker: str) -> float:
        """How much of what it can do a worker is asked for. Raises KeyError."""
        i = self._index[worker]
        return float(self._demands_wps[i] / self._capacities_wps[i])

    def add(self, worker: str, demand_wps: float) -> None:
        """A worker has got one. Raises KeyError."""
        self._demands_wps[self._index[worker]] += demand_wps


def best_moves(places: Sequence[Place], most: int) -> list[Move]:
    """What should move now, `most` at most: all of who is draining; else one camera after the other, from the fullest
    to the emptiest, where the one has too much or far more than the other, and both have less than that after it.
    """
    leaving = [(camera, place) for place in places if place.draining for camera in sorted(place.cameras)]
    if leaving:
        return _emptied(leaving, places, most)
    return _evened([place for place in places if not place.draining], most)


def _evened(places: Sequence[Place], most: int) -> list[Move]:
    capacities, moved = capacities_of(places), set[str]()
    loads = [place.demand_wps / capacity for place, capacity in zip(places, capacities, strict=True)]
    moves: list[Move] = []
    while len(places) > 1 and len(moves) < most:
        source, target = loads.index(max(loads)), loads.index(min(loads))
        before, least = loads[source], loads[target]
        if not places[source].capacity_wps or (before <= FULL and before - least <= UNEVEN):
            break
        worst_after = {
            camera: max(before - demand / capacities[source], least + demand / capacities[target])
            for camera, demand in places[source].cameras.items()
            if camera not in moved
        }
        best = min(worst_after, key=lambda camera: (worst_after[camera], camera), default=None)
        if best is None:
            break
        demand_wps = places[source].cameras[best]
        if before - worst_after[best] < min(WORTH, demand_wps / capacities[source]) - ROUNDING:
            break
        loads[source] -= demand_wps / capacities[source]
        loads[target] += demand_wps / capacities[target]
        moved.add(best)
        moves.append(Move(best, places[source].worker, places[target].worker))
    return moves


def _emptied(leaving: Sequence[tuple[str, Place]], places: Sequence[Place], most: int) -> list[Move]:
    loads, moves = Loads(places), []
    for camera, source in leaving[: max(0, most)]:
        demand_wps = source.cameras[camera]
        target = loads.best(demand_wps)
        if target is not None:
            loads.add(target, demand_wps)
            moves.append(Move(camera, source.worker, target))
    return moves
