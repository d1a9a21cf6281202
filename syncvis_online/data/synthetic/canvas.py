"""A small supersampled painter: shaded, textured parts in metres onto a sprite with an alpha channel.

Owns how one part is painted (antialiased outline, gradient shading, cloth or paint texture). Knows nothing
about what the parts make up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.synthetic.camera import Colour

Point = tuple[float, float]
Floats = NDArray[np.floating[Any]]
Pattern = Callable[[Floats, Floats], Floats]
"""From x (1, w) and y (h, 1) in metres to the share in [0, 1] of the second colour, for (h, w)."""

_FINE_PX_PER_M = 48.0
_SHIFT = 4
_TILE = 512


@dataclass(frozen=True, slots=True)
class Sprite:
    """`rgba` (h, w, 4) uint8, colour premultiplied with alpha; `origin` is the pixel (x, y) of the foot
    point."""

    rgba: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    origin: Point
    px_per_m: float

    @property
    def nbytes(self) -> int:
        return self.rgba.nbytes + self.alpha.nbytes


@lru_cache(maxsize=1)
def grain_tile() -> Floats:
    """Zero-mean noise (512, 512) float32 of two octaves, about one in deviation, that wraps around."""
    rng = np.random.default_rng(20241)
    fine = rng.standard_normal((_TILE, _TILE)).astype(np.float32)
    coarse = rng.standard_normal((_TILE // 8, _TILE // 8)).astype(np.float32)
    wrapped = np.pad(coarse, 1, mode="wrap")
    big = cv2.resize(wrapped, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)[8:-8, 8:-8]
    tile: Floats = np.ascontiguousarray(0.6 * fine + 0.9 * big, dtype=np.float32)
    return tile


def capsule(a: Point, b: Point, ra: float, rb: float) -> list[Point]:
    """The outline of a limb from `a` to `b` with round ends of the radii `ra` and `rb`."""
    angle = math.atan2(b[1] - a[1], b[0] - a[0])
    points = []
    for centre, radius, start in ((b, rb, -math.pi / 2), (a, ra, math.pi / 2)):
        for k in range(7):
            t = angle + start + math.pi * k / 6
            points.append((centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)))
    return points


def oval(centre: Point, rx: float, ry: float, tilt: float = 0.0, n: int = 24) -> list[Point]:
    c, s = math.cos(tilt), math.sin(tilt)
    points = []
    for k in range(n):
        u, v = rx * math.cos(2 * math.pi * k / n), ry * math.sin(2 * math.pi * k / n)
        points.append((centre[0] + u * c - v * s, centre[1] + u * s + v * c))
    return points


def smooth(points: list[Point]) -> list[Point]:
    """Cut the corners of an open line twice (Chaikin's subdivision); the end points stay."""
    for _ in range(2):
        cut = [points[0]]
        for a, b in pairwise(points):
            cut.append((0.75 * a[0] + 0.25 * b[0], 0.75 * a[1] + 0.25 * b[1]))
            cut.append((0.25 * a[0] + 0.75 * b[0], 0.25 * a[1] + 0.75 * b[1]))
        points = [*cut, points[-1]]
    return points


class Canvas:
    """Paints parts given in metres: x to the right, y up, the foot point at (0, 0)."""

    def __init__(self, extent: tuple[float, float, float, float], px_per_m: float) -> None:
        """`extent` is (left, right, bottom, top) in metres; `px_per_m` that of the finished sprite."""
        left, right, bottom, top = extent
        self._target = px_per_m
        # Outlines are antialiased as painted; twice the size helps only where parts are a pixel thin.
        self._times = 1 if px_per_m >= _FINE_PX_PER_M else 2
        self._ppm = px_per_m * self._times
        self._width = max(2, math.ceil((right - left) * px_per_m) + 2)
        self._height = max(2, math.ceil((top - bottom) * px_per_m) + 2)
        self._ox = (1 - left * px_per_m) * self._times
        self._oy = (1 + top * px_per_m) * self._times
        shape = (self._height * self._times, self._width * self._times)
        self._rgba = np.zeros((*shape, 4), np.float32)

    def fill(
        self,
        points: Sequence[Point],
        colour: Colour,
        *,
        shade: float = 0.16,
        direction: Point = (-0.5, 1.0),
        pattern: Pattern | None = None,
        second: Colour = (255.0, 255.0, 255.0),
        grain: float = 0.035,
        alpha: float = 1.0,
    ) -> None:
        """Paint a polygon; it is lighter towards `direction` by the share `shade`, darker away from it."""
        pts = np.asarray(points, np.float32) * (self._ppm, -self._ppm) + (self._ox, self._oy)
        x0, y0 = np.maximum(np.floor(pts.min(axis=0)).astype(int) - 1, 0).tolist()
        x1, y1 = (np.ceil(pts.max(axis=0)).astype(int) + 2).tolist()
        x1, y1 = min(x1, self._rgba.shape[1]), min(y1, self._rgba.shape[0])
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fixed = np.round((pts - (x0, y0)) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SHIFT)
        xs = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - self._ox) / self._ppm)[None, :]
        ys = ((self._oy - np.arange(y0, y1, dtype=np.float32) - 0.5) / self._ppm)[:, None]
        light = _gradient(xs, ys, points, direction, shade)
        light += grain * _grain(x0, y0, x1, y1)
        paint = np.empty((*mask.shape, 4), np.float32)
        if pattern is None:
            np.multiply(light[..., None], np.asarray(colour, np.float32), out=paint[..., :3])
        else:
            share = np.broadcast_to(pattern(xs, ys), mask.shape)[..., None]
            paint[..., :3] = (
                np.asarray(colour, np.float32) * (1 - share) + np.asarray(second, np.float32) * share
            )
            paint[..., :3] *= light[..., None]
        paint[..., 3] = 255.0
        weight = (mask.astype(np.float32) * (alpha / 255.0))[..., None]
        roi = self._rgba[y0:y1, x0:x1]
        paint -= roi
        paint *= weight
        roi += paint

    def limb(self, a: Point, b: Point, ra: float, rb: float, colour: Colour, **look: object) -> None:
        """Paint a tapered limb, shaded across its width."""
        length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
        across = (-(b[1] - a[1]) / length, (b[0] - a[0]) / length)
        if across[0] - across[1] > 0:
            across = (-across[0], -across[1])
        self.fill(capsule(a, b, ra, rb), colour, direction=across, **look)  # type: ignore[arg-type]

    def finish(self) -> Sprite:
        """What has been painted, cut to its content with a rim of one clear pixel where the canvas has room."""
        small: Floats = self._rgba
        if self._times > 1:
            small = np.asarray(
                cv2.resize(small, (self._width, self._height), interpolation=cv2.INTER_AREA), np.float32
            )
        rgba = np.asarray(cv2.convertScaleAbs(np.maximum(small, 0)), np.uint8)
        np.minimum(rgba, rgba[..., 3:], out=rgba)
        x, y, w, h = cv2.boundingRect(rgba[..., 3])
        x0, y0 = max(x - 1, 0), max(y - 1, 0)
        rgba = np.ascontiguousarray(rgba[y0 : y + h + 1, x0 : x + w + 1])
        origin = (self._ox / self._times - x0, self._oy / self._times - y0)
        return Sprite(rgba, np.ascontiguousarray(rgba[..., 3]), origin, self._target)


def _grain(x0: int, y0: int, x1: int, y1: int) -> Floats:
    tile = grain_tile()
    x, y = x0 % _TILE, y0 % _TILE
    if x + x1 - x0 <= _TILE and y + y1 - y0 <= _TILE:
        return tile[y : y + y1 - y0, x : x + x1 - x0]
    return tile[np.ix_(np.arange(y0, y1) % _TILE, np.arange(x0, x1) % _TILE)]


def _gradient(xs: Floats, ys: Floats, points: Sequence[Point], direction: Point, shade: float) -> Floats:
    norm = math.hypot(*direction) or 1.0
    dx, dy = direction[0] / norm, direction[1] / norm
    along = [p[0] * dx + p[1] * dy for p in points]
    low, high = min(along), max(along)
    t = (xs * dx + ys * dy - low) / max(high - low, 1e-4)
    light: Floats = ((1 - shade) + (2 * shade) * t).astype(np.float32)
    return light


def stripes(period_m: float, vertical: bool) -> Pattern:
    """Even stripes across or along the body."""

    def paint(x: Floats, y: Floats) -> Floats:
        t = (x if vertical else y) / period_m
        return np.asarray(np.mod(t, 1.0) < 0.45, np.float32)

    return paint


def checks(period_m: float) -> Pattern:
    def paint(x: Floats, y: Floats) -> Floats:
        a = (np.mod(x / period_m, 1.0) < 0.4).astype(np.float32)
        b = (np.mod(y / period_m, 1.0) < 0.4).astype(np.float32)
        return np.asarray(0.5 * a + 0.5 * b, np.float32)

    return paint


def dots(period_m: float) -> Pattern:
    def paint(x: Floats, y: Floats) -> Floats:
        u, v = np.mod(x / period_m, 1.0) - 0.5, np.mod(y / period_m, 1.0) - 0.5
        return np.asarray(u * u + v * v < 0.09, np.float32)

    return paint


def patches(scale_m: float, offset: int) -> Pattern:
    """Irregular patches (a dog's coat, camouflage), fixed to the body by `offset`."""

    def paint(x: Floats, y: Floats) -> Floats:
        tile = grain_tile()
        blotches = _smooth_tile()
        ix = np.mod((x / scale_m * 16).astype(np.int64) + offset, tile.shape[1])
        iy = np.mod((y / scale_m * 16).astype(np.int64) + 3 * offset, tile.shape[0])
        return np.asarray(blotches[iy, ix] > 0.25, np.float32)

    return paint


@lru_cache(maxsize=1)
def _smooth_tile() -> Floats:
    blurred = cv2.GaussianBlur(grain_tile(), (0, 0), 6, borderType=cv2.BORDER_REFLECT)
    tile: Floats = (blurred / blurred.std()).astype(np.float32)
    return tile
