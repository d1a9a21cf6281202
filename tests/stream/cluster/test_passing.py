"""What a gateway passes on is in order, each once, and never of who has the camera no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.cluster.passing import Passing
from stream.tenure import Tenure

results = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(0, 4)), max_size=60)


@given(results)
def test_in_order_once_and_never_of_an_older_epoch(came: list[tuple[int, int, int]]) -> None:
    passing, passed, current = Passing(), [], 0
    for epoch, order, known in came:
        current = max(current, known)
        if passing.passes(epoch, order, current):
            assert epoch >= current
            passed.append((epoch, order))
    assert passed == sorted(set(passed))


def test_all_of_one_owner_is_passed_on() -> None:
    passing = Passing()
    assert all(passing.passes(2, seq, 2) for seq in range(10))
    assert passing.passes(3, 0, 2), "who is newer than the table is right"


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(-5, 10)), max_size=30))
def test_a_tenure_holds_until_the_latest_time_that_was_granted_and_never_after_its_end(
    events: list[tuple[float, float]],
) -> None:
    now, granted_s = [100.0], [103.0]
    tenure = Tenure(1, granted_s[0], lambda: now[0])
    for seconds, ahead in events:
        now[0] += seconds
        assert tenure.holds == (now[0] < max(granted_s))
        granted_s.append(now[0] + ahead)
        tenure.renew(granted_s[-1])
    tenure.end()
    assert not tenure.holds
    tenure.renew(now[0] + 100.0)
    assert not tenure.holds
