"""The settings of one camera: where its pictures come from, what is kept of them, and what is told of what is on them.

Owns names, defaults and limits. Does not know what the settings do. Places are shares, 0 to 1, of the picture as it is
shown: after `crop`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stream.geometry import problem_of
from stream.sources.base import SourceOptions

MOST_REGIONS = 32
"""Zones of a camera, and lines: each is a label of metrics."""


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise ValueError("a name is 1 to 63 letters, digits, - and _, a letter or digit first")
    return name


def _simple(polygon: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if (problem := problem_of(polygon)) is not None:
        raise ValueError(f"no simple polygon: {problem}")
    return polygon


def _long(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if points[0] == points[1]:
        raise ValueError("a line needs two points apart")
    return points


def _area(crop: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = crop
    if x1 - x0 < 0.05 or y1 - y0 < 0.05:
        raise ValueError(
            "crop is [left, top, right, bottom], at least 0.05 of the picture in width and height"
        )
    return crop


Name = Annotated[str, AfterValidator(_name)]
Share = Annotated[float, Field(ge=0, le=1)]
Corner = tuple[Share, Share]
Polygon = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=256)]
SimplePolygon = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=64), AfterValidator(_simple)]
LinePoints = Annotated[tuple[Corner, Corner], AfterValidator(_long)]
Crop = Annotated[tuple[Share, Share, Share, Share], AfterValidator(_area)]
Anchor = Literal["bottom", "center"]


class RegionConfig(BaseModel):
    """What zones and lines have in common.

    `labels`: only these classes count; none: all. `anchor`: the point of an object that counts: the middle of its box's
    lower edge, where it stands on the ground, or the box's centre, for cameras that look straight down. `margin`: how
    far an object must be beyond the border to be away again, as a share of the picture's shorter side. `settle_s`: how
    many seconds it must stay on the other side before that is told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    labels: tuple[str, ...] = ()
    anchor: Anchor = "bottom"
    margin: Annotated[float, Field(ge=0, le=0.25)] = 0.02
    settle_s: Annotated[float, Field(ge=0, le=60)] = 0.3


class ZoneConfig(RegionConfig):
    """A part of the picture. `polygon`: its corners. `dwell_s`: who stays for so many seconds is told of, once a stay;
    null: nobody is.
    """

    polygon: SimplePolygon
    dwell_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


class LineConfig(RegionConfig):
    """A line from the first of its `points` to the second; forward is from its left to its right, as seen along it."""

    points: LinePoints


class CameraConfig(SourceOptions):
    """One camera. `url`: rtsp://, rtsps://, a file, a device, synthetic:SEED, or whip: for what is published here.

    In the user part of a URL (before the @) a value from the environment is taken literally: signs that have
    a meaning in URLs need no escaping. `realtime`: play a file at its own pace instead of as fast as
    possible. `labels`: the classes that are told of this camera; none: all. `min_score`: tracks that are less confident
    are not told. `ignore`: polygons, corners (x, y) as
    shares of the picture; a track that lies more than half inside them is not told of, neither drawn nor sent.
    `zones` and `lines`: by name, what is counted and told as events. `blur`: classes that are made unrecognisable in
    every picture that leaves the service. `fps`: the most pictures a second that are looked at; null: all. `crop`: the
    part of the picture that there is for all that follows: left, top, right, bottom. `priority`: where frames come
    faster than the model answers, cameras with a higher one go first, and the others have a turn about once a second.
    """

    url: str = Field(min_length=1, repr=False)
    realtime: bool = True
    fps: Annotated[float, Field(ge=0.1, le=1000)] | None = None
    crop: Crop | None = None
    labels: tuple[str, ...] = ()
    min_score: Share = 0.0
    ignore: tuple[Polygon, ...] = ()
    zones: dict[Name, ZoneConfig] = Field(default_factory=dict, max_length=MOST_REGIONS)
    lines: dict[Name, LineConfig] = Field(default_factory=dict, max_length=MOST_REGIONS)
    blur: tuple[str, ...] = ()
    priority: Annotated[int, Field(ge=0, le=9)] = 5

    @property
    def as_sent(self) -> bool:
        """Whether viewers may be given the camera's own packets: they hold the picture as it was sent, all of it."""
        return self.crop is None and not self.blur
