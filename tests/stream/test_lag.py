"""A line that is too slow is told from a clock that is, and from pictures that were held up for a moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream.sources.lag import SETTLED_S, WINDOW_S, Lag

PERIOD_S = 0.04


def lags(arrival_of: Callable[[float], float], seconds: float) -> list[float]:
    """Of a camera at 25 pictures a second; `arrival_of`: the media's time to that of arrival."""
    lag = Lag()
    times = [PERIOD_S * index for index in range(round(seconds / PERIOD_S))]
    return [lag.of(time_s, 1e9 + arrival_of(time_s)) for time_s in times]


def test_pictures_that_come_in_time_are_not_behind() -> None:
    assert max(lags(lambda time_s: time_s, 120)) == pytest.approx(0, abs=1e-6)


def test_on_a_line_that_carries_half_they_come_ever_later() -> None:
    assert lags(lambda time_s: 2 * time_s, 20)[-1] == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("rate", [0.99, 1.01])
def test_a_clock_that_drifts_does_not_add_up(rate: float) -> None:
    assert max(lags(lambda time_s: rate * time_s, 3600)) <= 0.01 * WINDOW_S + 0.05


def behind(arrivals: list[tuple[float, float]], limit_s: float) -> list[bool]:
    lag = Lag()
    return [lag.stays_above(limit_s, lag.of(*each), each[1]) for each in arrivals]


def test_a_stall_and_the_burst_after_it_are_not_to_be_behind() -> None:
    times = [PERIOD_S * index for index in range(500)]
    stalled = [(time_s, max(time_s, 9.0) if 4 < time_s < 9 else time_s) for time_s in times]
    assert not any(behind(stalled, 3.0))


def test_who_stays_behind_is_and_only_then() -> None:
    times = [PERIOD_S * index for index in range(500)]
    found = behind([(time_s, 2 * time_s) for time_s in times], 3.0)
    assert found.index(True) * PERIOD_S == pytest.approx(3.0 + SETTLED_S / 2, abs=0.1)
    assert all(found[found.index(True) :])
