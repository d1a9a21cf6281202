"""Cameras go where there is most room by what was measured; moves end, and make no worker fuller than the fullest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.cluster.placement import FULL, UNEVEN, Loads, Place, best_moves, capacities_of

demands = st.floats(1.0, 60.0)


@st.composite
def clusters(draw: st.DrawFn) -> list[Place]:
    count = draw(st.integers(1, 5))
    places = []
    for i in range(count):
        cameras = {f"c{i}-{j}": draw(demands) for j in range(draw(st.integers(0, 8)))}
        places.append(Place(f"w{i}", draw(st.none() | st.floats(10, 500)), cameras, draw(st.booleans())))
    return places


def after(places: list[Place], camera: str, source: str, target: str) -> list[Place]:
    held = {place.worker: dict(place.cameras) for place in places}
    held[target][camera] = held[source].pop(camera)
    return [Place(p.worker, p.capacity_wps, held[p.worker], p.draining) for p in places]


def load_of(place: Place, places: list[Place], more_wps: float = 0.0) -> float:
    """The share of what it can do that a worker is asked for, with so much more."""
    return (place.demand_wps + more_wps) / capacities_of(places)[places.index(place)]


@given(clusters(), st.lists(demands, min_size=1, max_size=5))
def test_each_camera_goes_where_it_fills_least(places: list[Place], cameras: list[float]) -> None:
    """One after the other: each counts for the next, as if all had been looked at anew."""
    loads = Loads(places)
    for i, demand in enumerate(cameras):
        chosen = loads.best(demand)
        open_ones = [place for place in places if not place.draining]
        assert (chosen is None) == (not open_ones)
        if chosen is None:
            return
        after = {place.worker: load_of(place, places, demand) for place in open_ones}
        assert after[chosen] == pytest.approx(min(after.values()))
        loads.add(chosen, demand)
        places = [
            replace(p, cameras={**p.cameras, f"new{i}": demand}) if p.worker == chosen else p for p in places
        ]


@given(clusters())
def test_moves_come_to_an_end_and_never_make_it_worse(places: list[Place]) -> None:
    assume(not any(place.draining for place in places))
    for _ in range(100):
        moves = best_moves(places, 4)
        if not moves:
            break
        worst = max(load_of(place, places) for place in places)
        for move in moves:
            places = after(places, move.camera, move.source, move.target)
        assert max(load_of(place, places) for place in places) <= worst
    else:
        raise AssertionError("it moves for ever")


@given(clusters())
def test_who_drains_is_emptied_when_there_is_anybody_else(places: list[Place]) -> None:
    assume(any(not place.draining for place in places))
    for _ in range(40):
        if not any(place.cameras for place in places if place.draining):
            return
        moves = best_moves(places, 4)
        assert 1 <= len(moves) <= 4
        for move in moves:
            places = after(places, move.camera, move.source, move.target)
    raise AssertionError("it is not empty")


def test_by_capacity_and_not_by_count() -> None:
    strong = Place("strong", 400.0, {f"s{i}": 25.0 for i in range(6)})
    weak = Place("weak", 50.0, {"w0": 25.0})
    assert Loads([strong, weak]).best(25.0) == "strong"


def test_a_new_node_takes_what_is_too_much_and_an_even_cluster_rests() -> None:
    full = Place("full", 100.0, {f"c{i}": 25.0 for i in range(4)})
    new = Place("new", None, {})
    moves = best_moves([full, new], 4)
    assert [(move.source, move.target) for move in moves] == [("full", "new")] * 2
    assert best_moves([full, new], 1) == moves[:1]
    even = [Place(f"w{i}", 100.0, {f"c{i}": 100 * FULL - UNEVEN * 100 * i / 2}) for i in range(2)]
    assert best_moves(even, 4) == []


def test_a_new_node_takes_load_however_small_the_cameras_are() -> None:
    full = Place("full", 700.0, {f"c{i:02}": 25.0 for i in range(20)})
    assert len(best_moves([full, Place("new", None, {})], 4)) == 4


def test_nothing_moves_to_who_is_about_to_be_switched_off() -> None:
    full = Place("full", 100.0, {f"c{i}": 25.0 for i in range(4)})
    emptied = Place("emptied", 100.0, {}, draining=True)
    assert best_moves([full, emptied], 4) == []
