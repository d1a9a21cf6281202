"""Which nodes a cluster can do without: what is given back to who started them. Pure: knows neither leases nor time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stream.cluster.placement import FULL, Loads, Place, capacities_of


def surplus(nodes: Mapping[str, Sequence[Place]], wanted: int) -> list[str]:
    """The workers that are more than are wanted, by name: all of a node or none of it, since a node with one of them is
    not idle; the least full nodes first. `nodes`: workers by node.

    Those that are left, not fewer than `wanted`, have room for all cameras that have to leave, of who drains already
    too, and are not asked for more than `FULL` of what they can do then.
    """
    staying = {node: [place for place in places if not place.draining] for node, places in nodes.items()}
    leaving = [place for places in nodes.values() for place in places if place.draining]
    gone: list[str] = []
    for node in sorted(
        (node for node in staying if staying[node]), key=lambda node: _fullness(staying, node)
    ):
        others = [place for other, places in staying.items() if other != node for place in places]
        if len(others) >= wanted and _have_room(others, [*leaving, *staying[node]]):
            leaving += staying[node]
            gone += [place.worker for place in staying.pop(node)]
    return gone


def _fullness(nodes: Mapping[str, Sequence[Place]], node: str) -> tuple[float, str]:
    """By the share of what they can do that its workers are asked for; the name decides between equals."""
    everywhere = [place for places in nodes.values() for place in places]
    capacities = dict(zip(everywhere, capacities_of(everywhere), strict=True))
    can_wps = sum(capacities[place] for place in nodes[node])
    return sum(place.demand_wps for place in nodes[node]) / can_wps, node


def _have_room(places: Sequence[Place], leaving: Iterable[Place]) -> bool:
    """Whether all cameras of who leaves have a place, the largest ones first, and nobody has too much then."""
    loads = Loads(places)
    for demand_wps in sorted((each for place in leaving for each in place.cameras.values()), reverse=True):
        target = loads.best(demand_wps)
        if target is None:
            return False
        loads.add(target, demand_wps)
    return all(loads.share(place.worker) <= FULL for place in places)
