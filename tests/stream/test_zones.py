"""Who is inside, who came and left, who crossed: told once each, whatever jitters, hides or is slow."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.camera_config import LineConfig, ZoneConfig
from stream.config import parse_config
from stream.errors import ConfigError
from stream.zones import Happening, Zones
from tests.stream.walks import seen, walked

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
UP = ((0.5, 1.0), (0.5, 0.5073))
"""In the middle of the lower half, pointing up: forward is to the right. No way of a test meets its very end."""

share = st.floats(0, 1)
Place = tuple[float, float]


def zones_of(**changes: Any) -> Zones:
    return Zones({"half": ZoneConfig(polygon=LEFT_HALF, **changes)})


def lines_of(points: Any = UP, **changes: Any) -> Zones:
    return Zones(lines={"door": LineConfig(points=points, **changes)})


def kinds(happened: list[Happening]) -> list[str]:
    return [f"{each.kind} {each.direction}" if each.direction else each.kind for each in happened]


def straight(start: Place, end: Place, frames: int) -> list[Place]:
    return [
        (start[0] + (end[0] - start[0]) * i / (frames - 1), start[1] + (end[1] - start[1]) * i / (frames - 1))
        for i in range(frames)
    ]


@st.composite
def ways(draw: st.DrawFn) -> list[Place]:
    """A way over the picture in steps of about a tenth of it, some of them jumps."""
    corners = draw(st.lists(st.tuples(share, share), min_size=2, max_size=8))
    steps = draw(st.integers(2, 12))
    return [at for start, end in pairwise(corners) for at in straight(start, end, steps)]


# Zones


@given(ways(), st.sampled_from([0.0, 0.3]))
def test_enters_less_leaves_are_those_inside(way: list[Place], settle_s: float) -> None:
    zones = zones_of(settle_s=settle_s)
    told = Counter[str]()
    for i, (x, y) in enumerate(way):
        told.update(kinds(seen(zones, i / 10, x, y)))
        (view,), _ = zones.view()
        assert view.count == told["enter"] - told["leave"]
        assert view.count in (0, 1)
    told.update(kinds(zones.end(1)))
    (view,), _ = zones.view()
    assert (view.count, told["enter"] - told["leave"]) == (0, 0)


@given(st.lists(st.floats(0.485, 0.515), min_size=2, max_size=200))
def test_who_trembles_on_the_border_comes_once_at_most_and_does_not_leave(xs: list[float]) -> None:
    zones = zones_of(margin=0.03)  # of 900 pixels, which is 0.017 of the width
    assert kinds(walked(zones, [(x, 0.5) for x in xs])) in ([], ["enter"])


def test_a_flicker_is_shorter_than_what_is_told_however_many_frames_it_has() -> None:
    for fps in (5.0, 30.0, 120.0):
        zones = zones_of(settle_s=0.5)
        inside, outside = [(0.2, 0.5)] * round(2 * fps), [(0.8, 0.5)] * round(0.4 * fps)
        assert kinds(walked(zones, inside + outside + inside, fps=fps)) == ["enter"]


@settings(max_examples=30, deadline=None)
@given(st.floats(4, 60), st.floats(4, 60))
def test_a_slow_and_a_fast_camera_tell_the_same(slow: float, fast: float) -> None:
    zone, line = ZoneConfig(polygon=LEFT_HALF, dwell_s=2.0), LineConfig(points=UP)
    stays_s = []
    for fps in (slow, fast):
        # Right, left, right through the line, in 12 s, 6 of them in the zone.
        there = straight((0.9, 0.75), (0.1, 0.75), round(6 * fps))
        told = walked(Zones({"half": zone}, {"door": line}), there + there[::-1], fps=fps)
        assert kinds([each for each in told if each.zone]) == ["enter", "dwell", "leave"]
        assert kinds([each for each in told if each.line]) == ["cross backward", "cross forward"]
        stays_s += [each.dwell_s for each in told if each.kind == "leave"]
    assert stays_s == [pytest.approx(6.0, abs=2 / slow + 0.2), pytest.approx(6.0, abs=2 / fast + 0.2)]


def test_dwell_is_told_once_a_stay() -> None:
    zones = zones_of(dwell_s=1.0, settle_s=0.0)
    inside, outside = [(0.2, 0.5)] * 30, [(0.8, 0.5)] * 5
    told = walked(zones, inside + outside + inside, fps=10)
    assert kinds(told) == ["enter", "dwell", "leave", "enter", "dwell"]
    assert [each.dwell_s for each in told] == [None, 1.0, 3.0, None, 1.0]


def test_who_is_gone_left_when_it_was_seen_last() -> None:
    zones = zones_of(settle_s=0.0)
    walked(zones, [(0.2, 0.5)] * 21, fps=10)
    (left,) = zones.end(1)
    assert (left.kind, left.zone, left.dwell_s) == ("leave", "half", 2.0)
    assert zones.end(1) == []


def test_who_is_hidden_inside_is_still_inside_and_dwells_when_found() -> None:
    zones = zones_of(settle_s=0.0, dwell_s=5.0)
    assert kinds(seen(zones, 0.0, 0.2, 0.5)) == ["enter"]
    assert zones.view()[0][0].counts == {"person": 1}
    assert [(each.kind, each.dwell_s) for each in seen(zones, 7.0, 0.3, 0.5)] == [("dwell", 7.0)]


def test_a_clock_that_goes_back_tells_nothing_wrong() -> None:
    zones = zones_of(settle_s=1.0)
    assert kinds(seen(zones, 100.0, 0.2, 0.5)) == []
    assert kinds(seen(zones, 50.0, 0.2, 0.5)) == []
    assert kinds(seen(zones, 51.0, 0.2, 0.5)) == ["enter"]
    seen(zones, 20.0, 0.8, 0.5)
    (left,) = seen(zones, 21.0, 0.8, 0.5)
    assert (left.kind, left.dwell_s) == ("leave", 0.0)


def test_only_the_named_classes_count_and_one_that_is_called_otherwise_leaves() -> None:
    zones = zones_of(labels=["car"], settle_s=0.0)
    assert seen(zones, 0.0, 0.2, 0.5, label="person") == []
    assert kinds(seen(zones, 1.0, 0.2, 0.5, label="car")) == ["enter"]
    assert kinds(seen(zones, 2.0, 0.2, 0.5, label="person")) == ["leave"]


def test_an_object_that_the_picture_s_edge_cuts_is_inside_a_zone_that_reaches_there() -> None:
    zones = Zones({"strip": ZoneConfig(polygon=((0, 0.8), (1, 0.8), (1, 1), (0, 1)), settle_s=0)})
    assert kinds(seen(zones, 0.0, 0.5, 1.0)) == ["enter"]


def test_the_centre_counts_where_it_is_said() -> None:
    lower = ((0, 0.5), (1, 0.5), (1, 1), (0, 1))
    for anchor, expected in (("bottom", ["enter"]), ("center", [])):
        zones = Zones({"low": ZoneConfig(polygon=lower, anchor=anchor, settle_s=0)})  # type: ignore[arg-type]
        assert kinds(seen(zones, 0.0, 0.5, 0.53)) == expected


# Lines


@given(ways())
def test_the_way_back_crosses_as_often_the_other_way(way: list[Place]) -> None:
    # From and to a place that is surely on a side: what is in the margin at first has no side yet.
    far = [(0.0, 0.0)]
    told, reverse, mirrored = (
        Counter(kinds(walked(lines_of(points, settle_s=0), far + path + far)))
        for points, path in ((UP, way), (UP, way[::-1]), (UP[::-1], way))
    )
    assert told["cross forward"] - told["cross backward"] == -(
        reverse["cross forward"] - reverse["cross backward"]
    )
    assert (mirrored["cross backward"], mirrored["cross forward"]) == (
        told["cross forward"],
        told["cross backward"],
    )


@given(ways(), st.sampled_from([0.0, 0.2]))
def test_crossings_of_a_line_from_edge_to_edge_are_what_the_sides_say(
    way: list[Place], settle_s: float
) -> None:
    """No way leads around it: those that went forward less those back are the change of sides."""
    zones = lines_of(((0.5, 1.0), (0.5, 0.0)), settle_s=settle_s)
    rest = 10  # frames that it stays, at either end, so that its side is sure
    way = [(0.1, 0.5)] * rest + way + [(0.9, 0.5)] * rest
    told = Counter(kinds(walked(zones, way)))
    assert told["cross forward"] - told["cross backward"] == 1
    _, (view,) = zones.view()
    assert (view.forward, view.backward) == (told["cross forward"], told["cross backward"])


@given(st.lists(st.floats(0.49, 0.51), min_size=2, max_size=200))
def test_who_trembles_on_a_line_does_not_cross_it(xs: list[float]) -> None:
    zones = lines_of(settle_s=0)
    assert walked(zones, [(0.2, 0.8), *((x, 0.8) for x in xs), (0.2, 0.8)]) == []


@given(st.floats(0, 0.46))
def test_who_goes_around_its_end_does_not_cross(height: float) -> None:
    zones = lines_of(settle_s=0)
    assert walked(zones, straight((0.1, height), (0.9, height), 30)) == []


def test_there_by_the_line_and_back_around_it_crosses_once() -> None:
    zones = lines_of(settle_s=0)
    through = straight((0.1, 0.8), (0.9, 0.8), 30)
    around = straight((0.9, 0.8), (0.9, 0.2), 30) + straight((0.9, 0.2), (0.1, 0.2), 30)
    assert kinds(walked(zones, through + around + straight((0.1, 0.2), (0.1, 0.8), 30))) == ["cross forward"]
    assert kinds(walked(zones, through)) == ["cross forward"], "and it can cross again"


def test_who_is_hidden_as_it_crosses_is_counted_when_it_is_found_on_the_other_side() -> None:
    zones = lines_of(settle_s=0.2)
    assert seen(zones, 0.0, 0.4, 0.8) == []
    assert seen(zones, 1.5, 0.6, 0.8) == []
    assert kinds(seen(zones, 1.75, 0.62, 0.8)) == ["cross forward"]


def test_who_is_gone_before_it_is_found_did_not_cross() -> None:
    zones = lines_of(settle_s=0)
    seen(zones, 0.0, 0.4, 0.8)
    assert zones.end(1) == []
    assert seen(zones, 5.0, 0.6, 0.8) == []


def test_a_glimpse_on_the_other_side_is_no_crossing() -> None:
    zones = lines_of(settle_s=0.3)
    way = [(0.3, 0.8)] * 10 + [(0.7, 0.8)] * 2 + [(0.3, 0.8)] * 10
    assert walked(zones, way, fps=10) == []


def test_only_the_named_classes_cross() -> None:
    zones = lines_of(settle_s=0, labels=["car"])
    for track_id, label in ((1, "person"), (2, "car")):
        seen(zones, 0.0, 0.3, 0.8, track_id, label)
    told = [seen(zones, 1.0, 0.7, 0.8, track_id, label) for track_id, label in ((1, "person"), (2, "car"))]
    assert [kinds(each) for each in told] == [[], ["cross forward"]]


# Settings


def test_what_stays_as_it_was_goes_on_counting() -> None:
    zone, other = (
        ZoneConfig(polygon=LEFT_HALF, settle_s=0),
        ZoneConfig(polygon=LEFT_HALF, settle_s=0, margin=0.1),
    )
    line = LineConfig(points=UP, settle_s=0)
    zones = Zones({"stays": zone, "changes": zone}, {"door": line})
    walked(zones, [(0.8, 0.8), (0.2, 0.8)])
    zones.reconfigure({"new": zone, "changes": other, "stays": zone}, {"door": line})
    (new, changed, stays), (door,) = zones.view()
    assert [new.name, changed.name, stays.name] == ["new", "changes", "stays"]
    assert [new.count, changed.count, stays.count, door.backward] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"zones": {"a": {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}}},
            "zones.a.polygon: .*cross or touch",
        ),
        ({"zones": {"a b": {"polygon": LEFT_HALF}}}, "zones.a b.*: a name is"),
        ({"zones": {"a": {"polygon": LEFT_HALF, "dwell": 3}}}, "zones.a.dwell"),
        ({"zones": {"a": {"polygon": LEFT_HALF, "dwell_s": 0}}}, "zones.a.dwell_s"),
        ({"zones": {f"z{i}": {"polygon": LEFT_HALF} for i in range(33)}}, "zones.*32"),
        ({"lines": {"a": {"points": [[0, 0], [0, 0]]}}}, "lines.a.points: a line needs two points apart"),
        ({"lines": {"a": {"points": [[0, 0], [0, 1.5]]}}}, "lines.a.points.1.1"),
        ({"lines": {"a": {"points": [[0, 0], [0, 1], [1, 1]]}}}, "lines.a.points"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config({"cameras": {"yard": {"url": "synthetic:1"} | keys}}, "test")
