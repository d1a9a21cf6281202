"""What Ray's autoscaler is asked for: enough for the cameras, not for a moment's sake, and not for ever."""

from __future__ import annotations

import pytest

from stream.cluster.messages import Owner, Table, WorkerState
from stream.cluster.placement import FULL
from stream.cluster.wanted import MORE_AFTER_S, Wanted

FEWER_AFTER_S = 300.0


def wanted_of(most: int) -> Wanted:
    return Wanted(1, most, FEWER_AFTER_S)


def table(*demands_wps: float, capacity_wps: float | None = 100.0, nowhere: int = 0) -> Table:
    """A worker for each of these, and cameras that nobody has."""
    workers = tuple(
        WorkerState(f"w{i}", "", "", 1, demand, capacity_wps, 0.5, False, 1)
        for i, demand in enumerate(demands_wps)
    )
    cameras: dict[str, Owner | None] = {f"c{i}": None for i in range(nowhere)}
    return Table(1, cameras, workers, places=len(demands_wps))


def after(wanted: Wanted, there: Table, began_s: float, seconds: float) -> list[int]:
    """What is wanted each second."""
    return [wanted.after(there, began_s + i) for i in range(int(seconds) + 1)]


def test_what_is_there_is_wanted_while_it_is_neither_too_full_nor_too_empty() -> None:
    assert set(after(wanted_of(10), table(70.0, 80.0), 0.0, 1000.0)) == {2}


def test_more_are_wanted_once_all_have_been_too_full_for_a_while() -> None:
    wanted, full = wanted_of(10), table(95.0, 95.0)
    asked = after(wanted, full, 0.0, MORE_AFTER_S)
    assert asked == [2] * int(MORE_AFTER_S) + [3]
    # It came, and took its share; nothing is asked for beyond it.
    assert set(after(wanted, table(63.0, 63.0, 64.0), 100.0, 1000.0)) == {3}


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_what_is_asked_for_is_enough_and_not_more_than_that(workers: int) -> None:
    demand_wps = 150.0
    wanted = wanted_of(100)
    asked = after(wanted, table(*[demand_wps] * workers), 0.0, MORE_AFTER_S)[-1]
    assert demand_wps * workers <= FULL * 100.0 * asked
    assert demand_wps * workers > FULL * 100.0 * (asked - 1)


def test_a_failover_asks_for_nothing() -> None:
    wanted = wanted_of(10)
    quiet, lost = table(70.0, 70.0), table(70.0, nowhere=9)
    assert after(wanted, quiet, 0.0, 20.0)[-1] == 2
    assert set(after(wanted, lost, 21.0, MORE_AFTER_S - 1)) == {2}
    assert set(after(wanted, quiet, 31.0, 100.0)) == {2}
    assert after(wanted, lost, 200.0, MORE_AFTER_S)[-1] > 2


def test_the_demand_is_taken_back_after_a_longer_while() -> None:
    wanted = wanted_of(10)
    assert after(wanted, table(95.0, 95.0, 95.0), 0.0, MORE_AFTER_S)[-1] == 4
    empty = table(10.0, 10.0, 10.0, 10.0)
    asked = after(wanted, empty, 100.0, FEWER_AFTER_S)
    assert asked == [4] * int(FEWER_AFTER_S) + [1]
    assert wanted.after(table(0.0), 2000.0) == 1


def test_never_more_than_the_most_and_never_none() -> None:
    wanted = wanted_of(3)
    assert after(wanted, table(500.0, 500.0), 0.0, MORE_AFTER_S)[-1] == 3
    assert wanted_of(3).after(table(*[50.0] * 5), 0.0) == 3
    assert wanted_of(3).after(table(), 0.0) == 1
    assert after(wanted_of(9), table(nowhere=8, capacity_wps=None), 0.0, MORE_AFTER_S)[-1] > 1


def test_never_fewer_than_the_least_so_that_there_is_somebody_to_go_on() -> None:
    wanted = Wanted(2, 10, FEWER_AFTER_S)
    assert wanted.after(table(), 0.0) == 2, "at first too, where no node is there yet"
    assert after(wanted, table(95.0, 95.0, 95.0), 1.0, MORE_AFTER_S)[-1] == 4
    assert after(wanted, table(0.0, 0.0, 0.0, 0.0), 100.0, FEWER_AFTER_S)[-1] == 2
