"""Cameras go where there is most room by what was measured; moves end, and make no worker fuller than the fullest."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from stream.cluster.placement import FULL, UNEVEN, Place, best_moves, best_place, load_of

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


@given(clusters(), demands)
def test_a_camera_goes_where_it_fills_least(places: list[Place], demand: float) -> None:
    chosen = best_place(demand, places)
    open_ones = [place for place in places if not place.draining]
    assert (chosen is None) == (not open_ones)
    if chosen is not None:
        loads = {place.worker: load_of(place, places, demand) for place in open_ones}
        assert loads[chosen] == min(loads.values())


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
    assert best_place(25.0, [strong, weak]) == "strong"


def test_a_new_node_takes_what_is_too_much_and_an_even_cluster_rests() -> None:
    full = Place("full", 100.0, {f"c{i}": 25.0 for i in range(4)})
    new = Place("new", None, {})
    (move,) = best_moves([full, new], 4)
    assert (move.source, move.target) == ("full", "new")
    even = [Place(f"w{i}", 100.0, {f"c{i}": 100 * FULL - UNEVEN * 100 * i / 2}) for i in range(2)]
    assert best_moves(even, 4) == []
