"""Zones and lines of one camera: who is inside, who came, left and stayed, who crossed.

Owns what inside and across mean, with hysteresis in space (`margin`) and in time (`settle_s`, in seconds of the
frames' own times, so that a slow and a fast camera tell the same). Told of each track that is seen, and when one is
gone; knows neither frames nor subscribers. docs/zones.md says it with a drawing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.camera_config import Anchor, LineConfig, ZoneConfig
from stream.geometry import Point, crossing, turn
from syncvis_online.types import Track

ON_BORDER = 1e-5
"""Of the picture's shorter side: so near to the border is on it, and inside."""

HappeningKind = Literal["enter", "leave", "dwell", "cross"]
Direction = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Happening:
    """What one track did at one zone or line. `dwell_s`: of leave and dwell, the seconds that it was inside."""

    kind: HappeningKind
    zone: str | None = None
    line: str | None = None
    direction: Direction | None = None
    dwell_s: float | None = None


@dataclass(frozen=True, slots=True)
class ZoneView:
    """A zone as of now: `counts`, how many are inside, by class; those that are hidden or lost for a moment too."""

    name: str
    polygon: tuple[Point, ...]
    counts: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many are inside."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class LineView:
    """A line as of now: how many crossed it each way since the camera was set up."""

    name: str
    points: tuple[Point, Point]
    forward: int
    backward: int


class Regions(NamedTuple):
    """All zones and lines of a camera as of now."""

    zones: tuple[ZoneView, ...] = ()
    lines: tuple[LineView, ...] = ()


@dataclass(frozen=True)
class Sighting:
    """A track where it is seen: `size` is the picture's width and height in pixels."""

    track: Track
    size: tuple[int, int]
    at_s: float

    @cached_property
    def anchors(self) -> Mapping[Anchor, Point]:
        """The point that counts, in units of the picture's shorter side, which are those of margins."""
        x0, y0, x1, y1 = (edge / min(self.size) for edge in self.track.box_xyxy)
        x = (x0 + x1) / 2
        return {"bottom": (x, y1), "center": (x, (y0 + y1) / 2)}


class _Scaled:
    """Points of a zone or line, in units of the shorter side of the pictures that come."""

    def __init__(self, points: tuple[Point, ...]) -> None:
        self._shares = points
        self._size = (0, 0)
        self.points = points
        self.contour: NDArray[np.float32] = np.empty((0, 2), np.float32)

    def to(self, size: tuple[int, int]) -> _Scaled:
        """As they are on a picture of this width and height."""
        if size != self._size:
            self._size, unit = size, min(size)
            self.points = tuple((x * size[0] / unit, y * size[1] / unit) for x, y in self._shares)
            self.contour = np.array(self.points, np.float32)
        return self


@dataclass(slots=True)
class _Stay:
    """One track at one zone. `changed_at_s`: since when it is on the other side than what was told."""

    label: str
    inside: bool = False
    changed_at_s: float | None = None
    since_s: float = 0.0
    seen_at_s: float = 0.0
    dwelt: bool = False


class ZoneWatch:
    """Who is inside one zone."""

    def __init__(self, name: str, config: ZoneConfig) -> None:
        self.name, self.config = name, config
        self._polygon = _Scaled(config.polygon)
        self._stays: dict[int, _Stay] = {}

    def see(self, sighting: Sighting) -> list[Happening]:
        """A track is seen: what that means."""
        track, now = sighting.track, sighting.at_s
        stay = self._stays.setdefault(track.track_id, _Stay(track.label))
        stay.label, stay.seen_at_s = track.label, now
        if self._holds(sighting, stay.inside) == stay.inside:
            stay.changed_at_s = None
        else:
            # The frames' times may go back where a camera's clock does.
            stay.changed_at_s = now if stay.changed_at_s is None else min(stay.changed_at_s, now)
            if now - stay.changed_at_s >= self.config.settle_s:
                return [self._change(stay), *self._dwelt(stay)]
        return self._dwelt(stay)

    def end(self, track_id: int) -> list[Happening]:
        """A track is gone: if it was inside it left, when it was seen last."""
        stay = self._stays.pop(track_id, None)
        if stay is None or not stay.inside:
            return []
        if stay.changed_at_s is None:
            stay.changed_at_s = stay.seen_at_s
        return [self._change(stay)]

    def view(self) -> ZoneView:
        """As of now."""
        counts = Counter(stay.label for stay in self._stays.values() if stay.inside)
        return ZoneView(self.name, self.config.polygon, dict(counts))

    def _holds(self, sighting: Sighting, was_inside: bool) -> bool:
        if self.config.labels and sighting.track.label not in self.config.labels:
            return False
        polygon, point = self._polygon.to(sighting.size).contour, sighting.anchors[self.config.anchor]
        # Only who is inside has a margin: an object that the picture's edge cuts stands on the border of a zone that
        # reaches there, and must be able to come in.
        tolerance = max(self.config.margin, ON_BORDER) if was_inside else ON_BORDER
        return cv2.pointPolygonTest(polygon, point, True) >= -tolerance

    def _change(self, stay: _Stay) -> Happening:
        """It is on the other side, since `changed_at_s`."""
        at_s = stay.seen_at_s if stay.changed_at_s is None else stay.changed_at_s
        stay.inside, stay.changed_at_s = not stay.inside, None
        if stay.inside:
            stay.since_s, stay.dwelt = at_s, False
            return Happening("enter", zone=self.name)
        return Happening("leave", zone=self.name, dwell_s=max(0.0, at_s - stay.since_s))

    def _dwelt(self, stay: _Stay) -> list[Happening]:
        """Told once a stay, and only while it is surely inside."""
        limit_s, inside_s = self.config.dwell_s, stay.seen_at_s - stay.since_s
        if limit_s is None or not stay.inside or stay.dwelt or stay.changed_at_s is not None:
            return []
        if inside_s < limit_s:
            return []
        stay.dwelt = True
        return [Happening("dwell", zone=self.name, dwell_s=inside_s)]


@dataclass(slots=True)
class _Walk:
    """One track at one line. `side`: 1 right of it, -1 left, 0 not known yet. `net`: how often its way went through
    the line from left to right, less how often back, since it was surely on that side.
    """

    at: Point
    side: int = 0
    net: int = 0
    changed_at_s: float | None = None


class LineWatch:
    """Who crosses one line."""

    def __init__(self, name: str, config: LineConfig) -> None:
        self.name, self.config = name, config
        self.crossed: Counter[Direction] = Counter()
        self._ends = _Scaled(config.points)
        self._walks: dict[int, _Walk] = {}

    def see(self, sighting: Sighting) -> list[Happening]:
        """A track is seen: what that means."""
        a, b = self._ends.to(sighting.size).points
        point, track_id = sighting.anchors[self.config.anchor], sighting.track.track_id
        walk = self._walks.setdefault(track_id, _Walk(point))
        walk.net += crossing(a, b, walk.at, point)
        walk.at = point
        side = self._side(a, b, point)
        if side == walk.side and side:
            walk.net, walk.changed_at_s = 0, None
        elif side and not walk.side:
            walk.side, walk.net = side, 0
        elif side:
            return self._across(walk, sighting)
        return []

    def end(self, track_id: int) -> list[Happening]:
        """A track is gone."""
        self._walks.pop(track_id, None)
        return []

    def view(self) -> LineView:
        """As of now."""
        return LineView(self.name, self.config.points, self.crossed["forward"], self.crossed["backward"])

    def _side(self, a: Point, b: Point, point: Point) -> int:
        """Of the endless line through the points: 1 right, -1 left, 0 within the margin, where it may be either."""
        doubled = turn(a, b, point)
        length = ((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5
        if abs(doubled) <= self.config.margin * length:
            return 0
        return 1 if doubled > 0 else -1

    def _across(self, walk: _Walk, sighting: Sighting) -> list[Happening]:
        """It is surely on the other side: told once it has been so for long enough, if it went through the line."""
        now = sighting.at_s
        walk.changed_at_s = now if walk.changed_at_s is None else min(walk.changed_at_s, now)
        if now - walk.changed_at_s < self.config.settle_s:
            return []
        through = walk.net == -walk.side  # not around its ends
        direction: Direction = "backward" if walk.side > 0 else "forward"
        walk.side, walk.net, walk.changed_at_s = -walk.side, 0, None
        wanted = not self.config.labels or sighting.track.label in self.config.labels
        if not through or not wanted:
            return []
        self.crossed[direction] += 1
        return [Happening("cross", line=self.name, direction=direction)]


class _Watch(Protocol):
    def see(self, sighting: Sighting) -> list[Happening]: ...

    def end(self, track_id: int) -> list[Happening]: ...


class Zones:
    """All zones and lines of one camera. Give it every track that is seen, frame by frame, and those that are gone."""

    def __init__(
        self, zones: Mapping[str, ZoneConfig] | None = None, lines: Mapping[str, LineConfig] | None = None
    ) -> None:
        self.zones: tuple[ZoneWatch, ...] = ()
        self.lines: tuple[LineWatch, ...] = ()
        self.reconfigure(zones or {}, lines or {})

    def reconfigure(self, zones: Mapping[str, ZoneConfig], lines: Mapping[str, LineConfig]) -> None:
        """From now on these; what stays as it was goes on counting, and who is inside stays inside."""
        old_zones = {zone.name: zone for zone in self.zones if zone.config == zones.get(zone.name)}
        old_lines = {line.name: line for line in self.lines if line.config == lines.get(line.name)}
        self.zones = tuple(old_zones.get(name) or ZoneWatch(name, zone) for name, zone in zones.items())
        self.lines = tuple(old_lines.get(name) or LineWatch(name, line) for name, line in lines.items())

    def see(self, sighting: Sighting) -> list[Happening]:
        """A track is seen: what that means, zones first."""
        return [happening for watch in self._all() for happening in watch.see(sighting)]

    def end(self, track_id: int) -> list[Happening]:
        """A track is gone."""
        return [happening for watch in self._all() for happening in watch.end(track_id)]

    def view(self) -> Regions:
        """Each as of now."""
        return Regions(tuple(zone.view() for zone in self.zones), tuple(line.view() for line in self.lines))

    def _all(self) -> tuple[_Watch, ...]:
        return (*self.zones, *self.lines)
