"""What a worker can do is measured by its work, whatever share of the time that took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.cluster.meter import LEAST_BUSY_S, OVER_S, Counts, Meter


@given(
    capacity_wps=st.floats(1, 500),
    busy=st.floats(0.1, 1.0),
    frames_a_second=st.floats(1, 60),
    stride=st.integers(1, 4),
)
def test_steady_work_is_measured(
    capacity_wps: float, busy: float, frames_a_second: float, stride: int
) -> None:
    meter = Meter(stride)
    for i in range(80):
        at_s = 1000.0 + 0.5 * i
        frames = {"door": frames_a_second * at_s} if i > 20 else {}
        meter.add(Counts(at_s, capacity_wps * busy * at_s, busy * at_s, frames))
    assert meter.capacity_wps == pytest.approx(capacity_wps, rel=1e-6)
    assert meter.busy == pytest.approx(busy, rel=1e-6)
    assert meter.demand_wps("door") == pytest.approx(frames_a_second / stride, rel=1e-6)
    assert meter.demand_wps("yard") is None


def test_little_work_says_nothing_and_what_was_measured_stays() -> None:
    meter = Meter(1)
    assert (meter.capacity_wps, meter.busy) == (None, 0.0)
    meter.add(Counts(0.0, 0, 0.0))
    meter.add(Counts(1.0, 20 * LEAST_BUSY_S / 2, LEAST_BUSY_S / 2))
    assert meter.capacity_wps is None
    meter.add(Counts(2.0, 20, 1.0))
    assert meter.capacity_wps == pytest.approx(20.0)
    for i in range(40):  # idle
        meter.add(Counts(3.0 + i, 20, 1.0))
    assert meter.capacity_wps == pytest.approx(20.0)
    assert meter.busy == 0.0


def test_rates_are_of_the_last_seconds() -> None:
    meter = Meter(1)
    for i in range(101):
        fast = i >= 50
        frames = {"door": 5.0 * i if not fast else 250.0 + 25.0 * (i - 50)}
        meter.add(Counts(float(i), 0, 0.0, frames))
    assert OVER_S < 50
    assert meter.demand_wps("door") == pytest.approx(25.0)
