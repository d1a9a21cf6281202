"""Points, lines and polygons, against what is true of them whatever they are."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.geometry import Point, crossing, problem_of, turn

coordinate = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 3))
point = st.tuples(coordinate, coordinate)
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
L_SHAPE = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0))


@given(point, point, point, point)
def test_a_step_back_and_a_line_turned_round_cross_the_other_way(
    a: Point, b: Point, start: Point, end: Point
) -> None:
    assume(a != b)
    assert crossing(a, b, end, start) == -crossing(a, b, start, end)
    if turn(a, b, start) and turn(a, b, end):
        assert crossing(b, a, start, end) == pytest.approx(-crossing(a, b, start, end))


@given(point, point, st.lists(point, min_size=2, max_size=12))
def test_a_way_crosses_an_endless_line_as_often_as_its_ends_say(a: Point, b: Point, way: list[Point]) -> None:
    assume(math.dist(a, b) > 0.1)
    far = [(a[0] + (b[0] - a[0]) * k, a[1] + (b[1] - a[1]) * k) for k in (-1000.0, 1000.0)]
    assume(all(abs(turn(far[0], far[1], at)) > 1 for at in way))
    net = sum(crossing(far[0], far[1], p, q) for p, q in pairwise(way))
    sides = [turn(far[0], far[1], at) > 0 for at in (way[0], way[-1])]
    assert net == int(sides[1]) - int(sides[0])


def test_right_is_where_one_sees_it_in_the_picture() -> None:
    """Along a line that points up the picture, what lies further right in it is on the right."""
    below, above = (0.5, 1.0), (0.5, 0.0)
    assert turn(below, above, (0.9, 0.5)) > 0
    assert crossing(below, above, (0.1, 0.5), (0.9, 0.5)) == 1
    assert crossing(below, above, (0.1, 1.5), (0.9, 1.5)) == 0, "past its end"


@pytest.mark.parametrize(
    ("polygon", "problem"),
    [
        (SQUARE, None),
        (L_SHAPE, None),
        (((0, 0), (1, 1), (1, 0), (0, 1)), "cross"),
        (((0, 0), (1, 0), (1, 1), (0, 0)), "twice in a row"),
        (((0, 0), (0.5, 0.5), (1, 1)), "no area"),
        (((0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)), "touch"),
    ],
)
def test_only_simple_polygons_are_taken(polygon: tuple[Point, ...], problem: str | None) -> None:
    found = problem_of(polygon)
    assert (found is None) if problem is None else (found is not None and problem in found)
