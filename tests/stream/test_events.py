"""What happens to tracks is told once, in an order that a reader can rely on, whatever the frames."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import DataError
from stream.event_hub import EventHub
from stream.events import TrackEvent, TrackEvents, decode_event
from stream.types import TrackedFrame
from tests.stream.frames import make_tracked

GONE_AFTER_S = 1.0
Sight = dict[int, bool]
"""What is on a frame: an id, and whether it is seen (or answered as lost)."""


def frame_of(
    seq: int, sight: Sight, *, at_s: float | None = None, flags: tuple[str, ...] = ()
) -> TrackedFrame:
    template = make_tracked(seq, tracks=1)
    tracks = tuple(
        replace(template.tracks[0], track_id=track_id, state="confirmed" if seen else "lost")
        for track_id, seen in sight.items()
    )
    at_s = seq * 0.25 if at_s is None else at_s
    return replace(template, tracks=tracks, captured_at_s=at_s, flags=flags)


def told(events: TrackEvents, *frames: TrackedFrame) -> list[str]:
    return [f"{event.seq} {event.event} {event.id}" for frame in frames for event in events.of(frame)]


sights = st.lists(st.dictionaries(st.integers(1, 4), st.booleans()), max_size=40)


@given(sights, st.booleans())
def test_each_life_is_born_lost_found_gone_in_this_order(seen: list[Sight], cuts: bool) -> None:
    events = TrackEvents(GONE_AFTER_S, ["cut"])
    frames = [frame_of(i, each, flags=("cut",) if cuts and i % 7 == 6 else ()) for i, each in enumerate(seen)]
    lives: dict[int, str] = {}
    for frame in frames:
        for event in events.of(frame):
            assert event.seen_at_s <= event.captured_at_s == frame.captured_at_s
            lives[event.id] = (
                lives.get(event.id, "") + {"born": "b", "lost": "l", "found": "f", "gone": "g"}[event.event]
            )
    for life in lives.values():
        # After it was gone it may be found in this test, whose tracker keeps no promise.
        assert re.fullmatch(r"b(lg?f)*(lg?)?", life), life
    ended = [(event.id, event.event) for event in events.end()]
    for track_id, life in lives.items():
        told_at_the_end = "".join(kind[0] for i, kind in ended if i == track_id)
        assert (life + told_at_the_end).endswith("lg"), "with the camera all are gone, once"
        assert told_at_the_end == {"g": "", "l": "g"}.get(life[-1], "lg")
    assert events.end() == []


@given(sights)
def test_who_reads_all_events_knows_who_is_in_sight(seen: list[Sight]) -> None:
    events, in_sight = TrackEvents(GONE_AFTER_S), set[int]()
    for i, sight in enumerate(seen):
        for event in events.of(frame_of(i, sight)):
            (in_sight.add if event.event in ("born", "found") else in_sight.discard)(event.id)
        assert in_sight == {track_id for track_id, is_seen in sight.items() if is_seen}


def test_gone_is_told_after_the_time_and_not_before() -> None:
    events = TrackEvents(GONE_AFTER_S)
    frames = [
        frame_of(0, {1: True}),
        frame_of(1, {1: False}),
        frame_of(4, {}),
        frame_of(5, {}),
        frame_of(6, {}),
    ]
    assert told(events, *frames) == ["0 born 1", "1 lost 1", "5 gone 1"]


def test_what_is_seen_on_the_next_frame_is_not_gone_however_slow_the_camera() -> None:
    events = TrackEvents(GONE_AFTER_S)
    assert told(events, frame_of(0, {1: True}), frame_of(1, {1: True}, at_s=60)) == ["0 born 1"]


def test_a_break_that_makes_identities_new_ends_all_before_others_begin() -> None:
    events = TrackEvents(GONE_AFTER_S, ["cut", "stale"])
    frames = [
        frame_of(0, {1: True}),
        frame_of(1, {2: True}, flags=("cut",)),
        frame_of(2, {2: True}, flags=("stale",)),
        frame_of(3, {3: True}, flags=("gap",)),
    ]
    assert told(events, *frames) == [
        *("0 born 1", "1 lost 1", "1 gone 1", "1 born 2", "3 lost 2", "3 gone 2", "3 born 3")
    ]


def test_memory_is_bounded_however_many_tracks_there_were() -> None:
    events = TrackEvents(GONE_AFTER_S)
    for seq in range(3000):
        events.of(frame_of(seq, {seq + 1: True}))
    assert len(events._known) <= 6
    assert len(events._gone) <= 1024


def test_the_text_of_an_event_can_be_read_back_and_nothing_else() -> None:
    (event,) = TrackEvents(GONE_AFTER_S).of(frame_of(3, {7: True}))
    assert decode_event(event.model_dump_json()) == event
    for wrong in ("{}", "", event.model_copy(update={"version": 2}).model_dump_json()):
        with pytest.raises(DataError, match="not an event of version 1: "):
            decode_event(wrong)


def an_event() -> TrackEvent:
    return TrackEvents(GONE_AFTER_S).of(frame_of(0, {1: True}))[0]


async def test_a_slow_subscriber_loses_the_oldest_counted_and_delays_nobody() -> None:
    dropped: list[str] = []
    hub = EventHub(dropped.append)
    slow, quick = hub.subscribe(kind="mqtt", capacity=3), hub.subscribe()
    for _ in range(5):
        hub.publish(an_event())
    hub.close()
    assert [event.number async for event in slow] == [3, 4, 5]
    assert [event.number async for event in quick] == [1, 2, 3, 4, 5]
    assert dropped == ["mqtt"] * 2
    assert (slow.dropped, quick.dropped, hub.subscribers) == (2, 0, 0)


async def test_who_comes_back_gets_what_it_missed() -> None:
    hub = EventHub()
    for _ in range(4):
        hub.publish(an_event())
    for after, numbers in ((2, [3, 4]), (4, []), (99, [1, 2, 3, 4]), (0, [1, 2, 3, 4])):
        subscription = hub.subscribe(after=after)
        subscription.close()
        assert [event.number async for event in subscription] == numbers
