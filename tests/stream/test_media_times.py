"""A camera's media time grows with time, whatever its timestamps do."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.sources.media_times import LEAP_S, MediaTimes

TICK_S = 1 / 90_000
PERIOD_S = 0.04
PERIOD = 3600


def times(stamps: list[int | None], arrivals_s: list[float] | None = None) -> list[int]:
    """What becomes of timestamps that arrive one every 40 ms, or as given."""
    media = MediaTimes()
    arrivals_s = arrivals_s or [1000 + PERIOD_S * i for i in range(len(stamps))]
    return [media.next(pts, TICK_S, at_s) for pts, at_s in zip(stamps, arrivals_s, strict=True)]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), min_size=1))
def test_it_grows_and_never_leaps_whatever_the_timestamps_are(stamps: list[int | None]) -> None:
    longest = (PERIOD_S + LEAP_S) / TICK_S + 1
    assert all(0 < after - before <= longest for before, after in pairwise(times(stamps)))


@given(st.lists(st.integers(1, 90_000), min_size=2), st.integers(-(2**33), 2**33))
def test_timestamps_that_can_be_right_are_left_as_they_are(steps: list[int], first: int) -> None:
    stamps: list[int | None] = [first + sum(steps[:i]) for i in range(len(steps))]
    assert times(stamps) == stamps


def steps(stamps: list[int | None]) -> set[int]:
    return {after - before for before, after in pairwise(times(stamps))}


def test_a_clock_that_is_wrong_is_replaced_by_the_time_that_passes() -> None:
    run = [PERIOD * i for i in range(20)]
    hour = 3600 * 90_000
    wrong: dict[str, list[int | None]] = {
        "backwards": [-each for each in run],
        "still": [7] * 20,
        "missing": [None] * 20,
        "an hour ahead": [*run, *(each + hour for each in run)],
        "an hour back": [*(each + hour for each in run), *run],
        "anew": [*run, *run, *run],
    }
    assert {name: steps(stamps) for name, stamps in wrong.items()} == {name: {PERIOD} for name in wrong}


def test_after_a_stall_pictures_that_come_at_once_keep_their_own_times() -> None:
    stamps: list[int | None] = [PERIOD * i for i in range(100)]
    arrivals_s = [1000 + PERIOD_S * i for i in range(10)] + [1004.0 + i / 1000 for i in range(90)]
    assert times(stamps, arrivals_s) == stamps


def test_where_this_machine_s_clock_is_set_back_the_camera_s_time_goes_on() -> None:
    stamps: list[int | None] = [PERIOD * i for i in range(20)]
    arrivals_s = [1000 + PERIOD_S * i - (3600 if i > 10 else 0) for i in range(20)]
    assert times(stamps, arrivals_s) == stamps
