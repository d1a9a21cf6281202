"""What each viewer gets: from a keyframe on, without a hole, whatever the others do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.webrtc.encoder import RTP_CLOCK_HZ, EncodedPicture
from stream.webrtc.fanout import MOST_WAITING, THINNED_KEYFRAME_TICKS, Fanout, ViewerQueue
from stream.webrtc.rate import CEILING_BPS, FLOOR_BPS, ViewerRate, ceiling_bps, shared_bps

STEP = RTP_CLOCK_HZ // 25


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Encoder:
    """Gives pictures of so many bytes; the next one is a keyframe where it was asked for."""

    size: int = 1000
    asked: int = 0
    seq: itertools.count[int] = field(default_factory=itertools.count)
    _wanted: bool = True

    def ask(self) -> None:
        self.asked += 1
        self._wanted = True

    def picture(self, *, keyframe: bool = False) -> EncodedPicture:
        seq = next(self.seq)
        wanted, self._wanted = self._wanted, False
        return EncodedPicture(seq, STEP * seq, keyframe or wanted, [bytes(self.size)])


def waiting(queue: ViewerQueue) -> list[EncodedPicture]:
    """Everything that waits for a viewer, taken."""
    taken = []
    while queue._waiting:
        step = queue.__anext__()
        with pytest.raises(StopIteration) as done:
            step.send(None)
        taken.append(done.value.value)
    return taken


def whole(pictures: list[EncodedPicture]) -> bool:
    """Whether a decoder could show each of them: each follows the one before, or is a keyframe."""
    return not pictures or (
        pictures[0].keyframe
        and all(b.keyframe or b.seq == a.seq + 1 for a, b in itertools.pairwise(pictures))
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["picture", "keyframe", "join", "read 0", "read 1", "leave", "slow"]), max_size=150
    )
)
def test_whatever_happens_a_viewer_can_show_all_that_it_gets(events: list[str]) -> None:
    encoder = Encoder()
    fanout = Fanout(encoder.ask)
    queues: list[ViewerQueue] = []
    got: dict[int, list[EncodedPicture]] = {}
    for event in events:
        if event in ("picture", "keyframe"):
            fanout.publish(encoder.picture(keyframe=event == "keyframe"))
        elif event == "join":
            queues.append(fanout.join())
        elif event == "slow" and queues:
            queues[-1].limit_bps = 50_000.0
        elif event == "leave" and queues:
            fanout.leave(queues.pop())
        elif event.startswith("read") and len(queues) > int(event[-1]):
            queue = queues[int(event[-1])]
            got.setdefault(id(queue), []).extend(waiting(queue))
        assert all(len(queue._waiting) <= MOST_WAITING for queue in queues)
    assert all(whole(pictures) for pictures in got.values())


def test_who_joins_soon_after_a_keyframe_starts_with_it_at_once_and_later_ones_ask() -> None:
    encoder = Encoder()
    fanout = Fanout(encoder.ask)
    for _ in range(3):
        fanout.publish(encoder.picture())
    assert [p.seq for p in waiting(fanout.join())] == [0, 1, 2]
    assert encoder.asked == 0
    for _ in range(20):
        fanout.publish(encoder.picture())
    late = fanout.join()
    assert encoder.asked == 1
    assert waiting(late) == []
    fanout.publish(encoder.picture())
    assert [(p.seq, p.keyframe) for p in waiting(late)] == [(23, True)]


def test_a_viewer_that_stalls_costs_nobody_a_keyframe_and_goes_on_with_one_when_it_reads_again() -> None:
    encoder, drops = Encoder(), itertools.count()
    fanout = Fanout(encoder.ask, on_drop=lambda: next(drops) and None)
    stalled, reading = fanout.join(), fanout.join()
    asked = encoder.asked
    read = []
    for _ in range(100):
        fanout.publish(encoder.picture())
        read += waiting(reading)
    assert [p.seq for p in read] == list(range(100))
    assert encoder.asked == asked
    assert stalled.dropped == 100 - MOST_WAITING == next(drops)
    got = waiting(stalled)
    fanout.publish(encoder.picture())
    assert encoder.asked == asked + 1
    fanout.publish(encoder.picture())
    got += waiting(stalled)
    assert whole(got)
    assert got[-1].seq == 101


def test_a_slow_line_gets_as_many_bits_as_it_takes_and_asks_for_few_keyframes() -> None:
    encoder = Encoder(size=5000)  # 1 Mbit/s
    fanout = Fanout(encoder.ask)
    slow, fast = fanout.join(), fanout.join()
    fanout.publish(encoder.picture())
    slow.limit_bps = 300_000.0
    got, seconds = waiting(slow), 40
    asked = encoder.asked
    for _ in range(25 * seconds):
        fanout.publish(encoder.picture())
        got += waiting(slow)
        waiting(fast)
    assert whole(got)
    bps = 8 * sum(p.size for p in got) / seconds
    assert 0.5 * slow.limit_bps < bps <= 1.05 * slow.limit_bps
    assert fast.dropped == 0
    assert encoder.asked - asked <= 1 + seconds * RTP_CLOCK_HZ / THINNED_KEYFRAME_TICKS


async def test_a_closed_queue_ends_and_takes_no_more() -> None:
    encoder = Encoder()
    fanout = Fanout(encoder.ask)
    queue = fanout.join()
    fanout.publish(encoder.picture())
    fanout.leave(queue)
    fanout.leave(queue)
    fanout.publish(encoder.picture())
    with pytest.raises(StopAsyncIteration):
        await anext(queue)
    assert not fanout.viewers


def test_an_estimate_far_above_what_is_sent_is_no_limit_and_a_near_one_is() -> None:
    clock = Clock()
    rate = ViewerRate(clock)
    for _ in range(25):
        clock.now += 0.04
        rate.sent(5000)
    assert rate.sent_bps == pytest.approx(1e6, rel=0.05)
    rate.estimated(1.5e6)
    assert rate.limit_bps == inf
    rate.estimated(800e3)
    assert rate.limit_bps == 800e3
    clock.now += 2.0
    rate.estimated(1.5e6)
    assert rate.limit_bps == pytest.approx(800e3 * 1.08**2)
    for _ in range(60):
        clock.now += 1.0
        rate.estimated(CEILING_BPS)
    assert rate.limit_bps == inf


def test_losses_lower_the_rate_and_their_end_raises_it() -> None:
    clock = Clock()
    rate = ViewerRate(clock)
    for _ in range(25):
        clock.now += 0.04
        rate.sent(5000)
    rate.lost(0.05)
    assert rate.limit_bps == inf, "between the two bounds nothing changes"
    rate.lost(0.2)
    assert rate.limit_bps == pytest.approx(0.9e6, rel=0.05)
    before = rate.limit_bps
    clock.now += 1.0
    rate.lost(0.0)
    assert rate.limit_bps == pytest.approx(1.08 * before)


@given(st.lists(st.one_of(st.just(inf), st.floats(1e3, 1e8)), max_size=9), st.floats(FLOOR_BPS, CEILING_BPS))
def test_at_least_half_of_the_viewers_can_take_the_shared_rate(limits: list[float], ceiling: float) -> None:
    bps = shared_bps(limits, ceiling)
    assert FLOOR_BPS <= bps <= ceiling
    if bps > FLOOR_BPS and limits:
        assert sum(limit >= bps for limit in limits) >= len(limits) / 2
    slower = shared_bps([limit / 2 for limit in limits], ceiling)
    assert slower <= bps


def test_larger_and_faster_pictures_may_cost_more_up_to_a_bound() -> None:
    assert ceiling_bps(64, 36, 1) == FLOOR_BPS
    assert FLOOR_BPS < ceiling_bps(640, 360, 25) < ceiling_bps(1280, 720, 10) < CEILING_BPS
    assert ceiling_bps(3840, 2160, 60) == CEILING_BPS
