"""Whose turn it is: priority, no camera starved, among equals round robin."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.turns import STARVED_S, Asked, Turns

no_deadline = hypothesis_settings(deadline=None)
priorities = st.lists(st.integers(0, 9), min_size=1, max_size=12)


def served(priorities: list[int], turns: int, each_s: float) -> list[tuple[float, str]]:
    """Who is served when, if all cameras always want their turn."""
    asking = {f"cam{i}": Asked(priority, 0.0) for i, priority in enumerate(priorities)}
    order, now_s = Turns(), 0.0
    said = []
    for _ in range(turns):
        camera = order.next(asking, now_s)
        said.append((now_s, camera))
        now_s += each_s
        asking[camera] = Asked(asking[camera].priority, now_s)
    return said


@no_deadline
@given(priorities, st.floats(0.001, 0.5))
def test_nobody_waits_for_much_longer_than_the_starved_are_told_to(given: list[int], each_s: float) -> None:
    last: dict[str, float] = {}
    longest_s = 0.0
    for at_s, camera in served(given, 400, each_s):
        longest_s = max(longest_s, at_s - last.get(camera, 0.0))
        last[camera] = at_s
    # Those who starve at the same time are served one after another.
    assert longest_s <= STARVED_S + (len(given) + 1) * each_s + 1e-6


@no_deadline
@given(st.integers(1, 9), st.integers(2, 9))
def test_equals_take_turns(priority: int, count: int) -> None:
    said = [camera for _, camera in served([priority] * count, 5 * count, 0.01)]
    for first in range(0, len(said) - count + 1):
        assert len(set(said[first : first + count])) == count


def test_the_higher_priority_takes_all_that_the_starved_leave() -> None:
    turns = Counter(camera for at_s, camera in served([9, 3, 3], 1000, 0.02) if at_s >= 5)
    # Two windows of 20 ms a second for the others, as nearly as windows allow.
    others = turns["cam1"] + turns["cam2"]
    assert turns["cam1"] == turns["cam2"]
    assert 0.03 <= others / turns.total() <= 0.045


def test_one_that_comes_later_is_not_served_for_the_time_before() -> None:
    order = Turns()
    for _ in range(5):
        order.next({"old": Asked(5, 0.0)}, 0.1)
    both = {"old": Asked(5, 0.1), "new": Asked(5, 0.1)}
    assert [order.next(both, 0.2) for _ in range(4)] == ["new", "old", "new", "old"]
