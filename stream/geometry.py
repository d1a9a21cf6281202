"""Points, segments and polygons in the plane: what zones and lines need of geometry.

Pure. Points are (x, y) in one unit for both axes; y grows downwards, as in pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

Point = tuple[float, float]
Polygon = Sequence[Point]


def edges(polygon: Polygon) -> Iterator[tuple[Point, Point]]:
    """The sides of a polygon, the closing one last."""
    return pairwise((*polygon, polygon[0]))


def turn(origin: Point, a: Point, b: Point) -> float:
    """Twice the area of the triangle: above 0 where `b` lies to the right of the way from `origin` to `a`, as one
    sees it in a picture.
    """
    return (a[0] - origin[0]) * (b[1] - origin[1]) - (a[1] - origin[1]) * (b[0] - origin[0])


def _distance(a: Point, b: Point, point: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    share = 0.0 if not length else ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length
    share = min(max(share, 0.0), 1.0)
    return math.hypot(a[0] + share * dx - point[0], a[1] + share * dy - point[1])


def crossing(a: Point, b: Point, start: Point, end: Point) -> int:
    """How a step crosses the segment from `a` to `b`: 1 from its left to its right, -1 back, 0 not at all.

    A point on the line itself counts as on the right, so that two steps that meet there cross once.
    """
    before, after = turn(a, b, start), turn(a, b, end)
    if (before >= 0) == (after >= 0):
        return 0
    share = before / (before - after)
    x, y = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = (x - a[0]) * dx + (y - a[1]) * dy
    if not 0 <= along <= dx * dx + dy * dy:
        return 0
    return 1 if after >= 0 else -1


def problem_of(polygon: Polygon) -> str | None:
    """Why these corners make no simple polygon with an area; None where they do."""
    sides = list(edges(polygon))
    if any(a == b for a, b in sides):
        return "the same corner stands twice in a row (the last is joined to the first by itself)"
    for (i, (a, b)), (j, (c, d)) in combinations(enumerate(sides), 2):
        neighbours = j - i == 1 or (i == 0 and j == len(sides) - 1)
        if not neighbours and _meet(a, b, c, d):
            return "its sides cross or touch each other"
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in sides) / 2
    return None if abs(area) > 1e-6 else "it has no area"


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two segments have a point in common."""
    turns = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(side == 0 and _distance(*end) == 0 for side, end in zip(turns, ends, strict=True))
