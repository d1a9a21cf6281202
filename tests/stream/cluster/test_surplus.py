"""What is given back: whole nodes, the least full first, and never what a camera needs or what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream.cluster.placement import FULL, Place, best_moves, capacities_of
from stream.cluster.surplus import surplus
from tests.stream.cluster.test_book import LEASE_S, SETTINGS, Play
from tests.support.played_worker import PlayedWorker

SETTLED_S = 300.0


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, list[Place]]:
    """Nodes of one to three workers, some of which drain."""
    nodes: dict[str, list[Place]] = {}
    for n in range(draw(st.integers(1, 5))):
        nodes[f"n{n}"] = [
            Place(
                f"w{n}-{i}",
                draw(st.none() | st.floats(20, 500)),
                {f"c{n}-{i}-{j}": draw(st.floats(1.0, 60.0)) for j in range(draw(st.integers(0, 4)))},
                draw(st.sampled_from([False, False, False, True])),
            )
            for i in range(draw(st.integers(1, 3)))
        ]
    return nodes


def staying(nodes: Mapping[str, Sequence[Place]], gone: Sequence[str]) -> list[Place]:
    return [p for places in nodes.values() for p in places if p.worker not in gone and not p.draining]


@given(clusters(), st.integers(1, 8))
def test_whole_nodes_never_too_many_and_every_camera_has_a_place(
    nodes: dict[str, list[Place]], wanted: int
) -> None:
    gone = surplus(nodes, wanted)
    left = staying(nodes, gone)
    if not gone:
        return
    assert len(left) >= wanted
    for places in nodes.values():
        of_node = {place.worker for place in places if not place.draining}
        assert not of_node & set(gone) or of_node <= set(gone)
    # As it then happens: all that leave are emptied by the same rules as by hand.
    places = [replace(p, draining=p.draining or p.worker in gone) for each in nodes.values() for p in each]
    demand_wps, can_wps = sum(p.demand_wps for p in places), sum(capacities_of(left))
    assert demand_wps <= FULL * can_wps * (1 + 1e-9)
    for _ in range(40):
        moves = [move for move in best_moves(places, 4) if move.source not in {p.worker for p in left}]
        for move in moves:
            held = {p.worker: dict(p.cameras) for p in places}
            held[move.target][move.camera] = held[move.source].pop(move.camera)
            places = [replace(p, cameras=held[p.worker]) for p in places]
        if not moves:
            break
    assert not any(p.cameras for p in places if p.draining)


def test_the_least_full_goes_first_by_what_it_can_do_and_not_by_its_cameras() -> None:
    many = Place("many", 400.0, {f"m{i}": 25.0 for i in range(3)})
    one = Place("one", 100.0, {"o": 25.0})
    none = Place("none", None, {})
    nodes = {"a": [many], "b": [one], "c": [none]}
    assert surplus(nodes, 2) == ["none"]
    assert surplus({"a": [many], "b": [one], "d": [Place("large", 400.0, {"l": 200.0})]}, 2) == ["many"]
    assert surplus(nodes, 3) == []


def test_one_whose_cameras_would_be_too_much_for_the_others_stays_and_another_one_goes() -> None:
    weak = Place("weak", 60.0, {"w0": 25.0})
    strong = Place("strong", 400.0, {f"s{i}": 25.0 for i in range(6)})
    # The strong one is the less full of the two, and nobody could do what it does.
    assert strong.demand_wps / 400.0 < weak.demand_wps / 60.0
    assert surplus({"a": [strong], "b": [weak]}, 1) == ["weak"]
    assert surplus({"a": [strong], "b": [replace(strong, worker="other")]}, 1) == ["strong"]


def test_a_node_of_two_workers_goes_whole_or_not_at_all() -> None:
    two = [Place(f"a{i}", 100.0, {}) for i in range(2)]
    one = [Place("b", 100.0, {"c": 25.0})]
    assert surplus({"a": two, "b": one}, 2) == ["b"]
    assert surplus({"a": two}, 1) == []
    assert surplus({"a": two, "b": one}, 1) == ["a0", "a1"]


def cluster(workers: int = 3, cameras: int = 4) -> Play:
    """Workers on a node each that have been there for long; each can do 100 windows a second, a camera asks for 25."""
    play = Play([PlayedWorker(f"w{i}", node=f"n{i}") for i in range(workers)])
    for i in range(cameras - 2):
        play.book.put(f"more{i}", SETTINGS)
    pass_time(play, SETTLED_S + 10.0)
    return play


def pass_time(play: Play, seconds: float, wanted: int | None = None) -> None:
    """All report, and the book is told how many are wanted, as a controller does."""
    until_s = play.true_s + seconds
    while play.true_s < until_s:
        play.pass_time(0.4)
        for worker in play.workers:
            play.beat(worker)
        if wanted is not None:
            play.book.want(wanted, SETTLED_S, play.true_s)


def left(play: Play) -> dict[str, bool]:
    """Who leaves, of those who are there."""
    return {each.worker: each.draining for each in play.book.table().workers}


def end_spares(play: Play) -> list[str]:
    names = play.book.spares()
    for name in names:
        assert not next(worker for worker in play.workers if worker.name == name).cameras
        play.workers = [worker for worker in play.workers if worker.name != name]
        play.book.died(name)
    return names


def test_who_is_too_many_is_emptied_and_can_be_ended_then_and_no_camera_is_lost() -> None:
    play = cluster()
    pass_time(play, 10.0, wanted=3)
    assert not any(left(play).values())
    play.book.want(2, SETTLED_S, play.true_s)
    (spare,) = (name for name, leaves in left(play).items() if leaves)
    holds = any(lease.worker == spare for lease in play.book._leases._by_camera.values())
    assert holds == (spare not in play.book.spares())
    pass_time(play, 10.0, wanted=2)
    assert end_spares(play) == [spare]
    pass_time(play, 2 * LEASE_S, wanted=2)
    assert not any(left(play).values())
    assert play.book.unassigned() == []
    assert play.book.table().failovers == 0
    assert sum(len(worker.cameras) for worker in play.workers) == 4


def test_not_below_what_the_cameras_need_whatever_is_wanted() -> None:
    play = cluster(workers=3, cameras=6)  # ask for 150 of 300: two may be asked for 180, one may not
    pass_time(play, 20.0, wanted=1)
    assert len(end_spares(play)) == 1
    pass_time(play, 2 * SETTLED_S, wanted=1)
    assert end_spares(play) == []
    assert play.book.unassigned() == []


def test_who_is_wanted_again_before_it_has_ended_stays_and_takes_cameras() -> None:
    play = cluster(cameras=3)
    play.book.want(1, SETTLED_S, play.true_s)
    assert sum(left(play).values()) == 2
    play.book.want(3, SETTLED_S, play.true_s)
    assert not any(left(play).values())
    assert play.book.spares() == []


def test_who_is_drained_by_somebody_stays_so_whatever_is_wanted() -> None:
    play = cluster()
    play.book.drain("w0")
    pass_time(play, 20.0, wanted=3)
    assert left(play) == {"w0": True, "w1": False, "w2": False}
    assert play.book.drained == 1
    assert play.book.spares() == []


def test_a_worker_that_came_is_given_the_time_to_be_needed() -> None:
    play = cluster(workers=2)
    play.workers.append(PlayedWorker("w9", true_s=play.true_s, node="n9"))
    pass_time(play, SETTLED_S - 10.0, wanted=2)
    assert not any(left(play).values())
    pass_time(play, 20.0, wanted=2)
    assert len(end_spares(play)) == 1


def test_one_that_fell_silent_is_not_counted_for_enough() -> None:
    play = cluster(workers=2)
    play.workers[0].stopped = True
    pass_time(play, 2.0)
    pass_time(play, 2 * SETTLED_S, wanted=1)
    assert not left(play)["w1"]
