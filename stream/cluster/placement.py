"""Which worker gets a camera, and which camera had better be elsewhere: by what workers can do, not by how many they
have.

Owns the rules. Pure: knows neither leases nor time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

ASSUMED_WPS = 50.0
"""Windows a second of a worker, where none has been measured."""
FULL = 0.9
"""A worker that is asked for more of what it can do has too much."""
UNEVEN = 0.3
"""So much more of what it can do one worker may be asked for than another."""
WORTH = 0.1
"""A move is worth its interruption where the fuller of both is relieved of so much."""


@dataclass(frozen=True, slots=True)
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


def capacity_of(place: Place, places: Sequence[Place]) -> float:
    """Windows a second: as measured, or else as the others'."""
    if place.capacity_wps:
        return place.capacity_wps
    measured = [each.capacity_wps for each in places if each.capacity_wps]
    return median(measured) if measured else ASSUMED_WPS


def load_of(place: Place, places: Sequence[Place], more_wps: float = 0.0) -> float:
    """The share of what it can do that it is asked for, with so much more."""
    return (place.demand_wps + more_wps) / capacity_of(place, places)


def best_place(demand_wps: float, places: Sequence[Place]) -> str | None:
    """Who is the least full with one more camera; None where nobody takes any."""
    open_ones = [place for place in places if not place.draining]
    if not open_ones:
        return None
    return min(open_ones, key=lambda place: (load_of(place, places, demand_wps), place.worker)).worker


def best_moves(places: Sequence[Place], most: int) -> list[Move]:
    """What should move now, `most` at most: all of who is draining; else one camera, from the fullest to the emptiest,
    where the one has too much or far more than the other, and both have less than that after it.
    """
    leaving = [(camera, place) for place in places if place.draining for camera in sorted(place.cameras)]
    if leaving:
        return _emptied(leaving, places, most)
    if len(places) < 2 or most < 1:
        return []
    fullest = max(places, key=lambda place: load_of(place, places))
    emptiest = min(places, key=lambda place: load_of(place, places))
    before, least = load_of(fullest, places), load_of(emptiest, places)
    if not fullest.capacity_wps or (before <= FULL and before - least <= UNEVEN):
        return []
    worst_after = {
        camera: max(load_of(fullest, places, -demand), load_of(emptiest, places, demand))
        for camera, demand in fullest.cameras.items()
    }
    best = min(worst_after, key=lambda camera: (worst_after[camera], camera), default=None)
    if best is None or worst_after[best] > before - WORTH:
        return []
    return [Move(best, fullest.worker, emptiest.worker)]


def _emptied(leaving: list[tuple[str, Place]], places: Sequence[Place], most: int) -> list[Move]:
    taken: dict[str, dict[str, float]] = {place.worker: dict(place.cameras) for place in places}
    moves = []
    for camera, source in leaving[: max(0, most)]:
        now = [Place(p.worker, p.capacity_wps, taken[p.worker], p.draining) for p in places]
        target = best_place(source.cameras[camera], now)
        if target is not None:
            taken[target][camera] = taken[source.worker].pop(camera)
            moves.append(Move(camera, source.worker, target))
    return moves
