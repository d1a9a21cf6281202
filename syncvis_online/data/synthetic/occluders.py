"""Street furniture and plants that stand still and hide what passes behind: none of it is a labelled
class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Camera, Colour
from syncvis_online.data.synthetic.canvas import Canvas, Sprite, oval, stripes
from syncvis_online.data.synthetic.looks import CLOTH, mix, pick, shaded

LEAVES: tuple[Colour, ...] = (
    (72, 112, 56),
    (96, 130, 62),
    (58, 96, 66),
    (128, 134, 58),
    (166, 112, 50),
    (84, 122, 84),
)
BARK: tuple[Colour, ...] = ((92, 72, 56), (112, 96, 80), (74, 60, 52), (150, 142, 130))
METAL: tuple[Colour, ...] = ((62, 66, 72), (96, 100, 104), (40, 62, 56), (130, 124, 116))
_SPRITE_PX_LIMIT = 1600.0

Painter = Callable[[Canvas, np.random.Generator], None]
Extent = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Occluder:
    """A thing on the ground at (`x_m`, `z_m`), drawn at the exact size it has in the picture."""

    kind: str
    x_m: float
    z_m: float
    sprite: Sprite


def foliage(
    canvas: Canvas,
    rng: np.random.Generator,
    centre: tuple[float, float],
    rx: float,
    ry: float,
    leaf: Colour,
    clumps: int = 34,
) -> None:
    """A crown of overlapping clumps: dark below and behind, light above and in front."""
    canvas.fill(oval(centre, rx * 0.86, ry * 0.86), shaded(leaf, 0.6), grain=0.12)
    for k in range(clumps):
        t, r = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(0.0, 1.0))
        x, y = centre[0] + rx * 0.82 * r * math.cos(t), centre[1] + ry * 0.82 * r * math.sin(t)
        height = (y - centre[1]) / ry
        tone = 0.72 + 0.22 * height + 0.3 * k / clumps + float(rng.normal(0, 0.04))
        size = float(rng.uniform(0.16, 0.32)) * min(rx, ry)
        canvas.fill(_leafy(rng, (x, y), size), shaded(leaf, tone), shade=0.22, grain=0.13)


def _leafy(rng: np.random.Generator, centre: tuple[float, float], size: float) -> list[tuple[float, float]]:
    radii = size * rng.uniform(0.86, 1.14, 18)
    return [
        (centre[0] + r * 1.2 * math.cos(2 * math.pi * k / 18), centre[1] + r * math.sin(2 * math.pi * k / 18))
        for k, r in enumerate(radii.tolist())
    ]


def _tree(canvas: Canvas, rng: np.random.Generator) -> None:
    bark, leaf = pick(rng, BARK), pick(rng, LEAVES)
    r, lean = float(rng.uniform(0.2, 0.3)), float(rng.uniform(-0.15, 0.15))
    canvas.fill([(-2.1 * r, 0), (2.1 * r, 0), (r, 0.35), (-r, 0.35)], shaded(bark, 0.8), grain=0.15)
    canvas.limb(
        (0, 0.1),
        (lean, 3.0),
        r,
        0.75 * r,
        bark,
        grain=0.16,
        shade=0.3,
        pattern=stripes(0.09, True),
        second=shaded(bark, 0.82),
    )
    for side in (-1.0, 1.0):
        canvas.limb((lean * 0.8, 2.2), (lean + 0.8 * side, 3.3), 0.4 * r, 0.2 * r, bark, grain=0.15)
    foliage(canvas, rng, (lean, 3.9), 1.7, 1.35, leaf, 46)


def _young_tree(canvas: Canvas, rng: np.random.Generator) -> None:
    bark, leaf = pick(rng, BARK), pick(rng, LEAVES)
    canvas.limb((0, 0), (0.05, 1.6), 0.09, 0.06, bark, grain=0.15)
    foliage(canvas, rng, (0.0, 2.0), 0.72, 1.0, leaf, 30)


def _lamp(canvas: Canvas, rng: np.random.Generator) -> None:
    metal = pick(rng, METAL)
    canvas.fill([(-0.2, 0), (0.2, 0), (0.13, 0.7), (-0.13, 0.7)], metal, direction=(-1, 0), shade=0.3)
    canvas.limb((0, 0.5), (0, 4.2), 0.085, 0.06, metal, shade=0.3)
    canvas.limb((0, 4.1), (0.7, 4.4), 0.05, 0.04, metal)
    canvas.fill([(0.5, 4.36), (1.0, 4.42), (1.0, 4.34), (0.5, 4.26)], (255, 244, 206), shade=0.05)


def _column(canvas: Canvas, rng: np.random.Generator) -> None:
    """An advertising column."""
    base, poster = pick(rng, METAL), pick(rng, CLOTH)
    canvas.fill(
        [(-0.52, 0), (0.52, 0), (0.5, 0.35), (-0.5, 0.35)], shaded(base, 0.8), direction=(-1, 0), shade=0.4
    )
    canvas.fill(
        [(-0.48, 0.35), (0.48, 0.35), (0.48, 2.5), (-0.48, 2.5)],
        mix(poster, (240, 236, 226), 0.7),
        direction=(-1, 0),
        shade=0.35,
    )
    for _ in range(5):
        x, y = float(rng.uniform(-0.42, 0.08)), float(rng.uniform(0.45, 1.8))
        w, h = float(rng.uniform(0.2, 0.36)), float(rng.uniform(0.3, 0.6))
        canvas.fill([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], pick(rng, CLOTH), grain=0.08, alpha=0.9)
    canvas.fill(
        [(-0.58, 2.5), (0.58, 2.5), (0.5, 2.66), (0.0, 3.0), (-0.5, 2.66)],
        base,
        direction=(-1, 0.3),
        shade=0.35,
    )


def _kiosk(canvas: Canvas, rng: np.random.Generator) -> None:
    wall, awning = pick(rng, CLOTH), pick(rng, CLOTH)
    canvas.fill(
        [(-1.1, 0), (1.1, 0), (1.1, 2.5), (-1.1, 2.5)],
        wall,
        pattern=stripes(0.22, True),
        second=shaded(wall, 0.85),
    )
    canvas.fill([(-0.85, 1.0), (0.85, 1.0), (0.85, 1.95), (-0.85, 1.95)], (52, 54, 58), shade=0.4)
    for k in range(7):
        x = -0.8 + 0.23 * k
        canvas.fill(
            [(x, 1.02), (x + 0.17, 1.02), (x + 0.17, 1.02 + 0.3 + 0.1 * (k % 3)), (x, 1.3)], pick(rng, CLOTH)
        )
    canvas.fill([(-1.0, 0.9), (1.0, 0.9), (1.0, 1.0), (-1.0, 1.0)], shaded(wall, 0.6))
    canvas.fill(
        [(-1.3, 2.0), (1.3, 2.0), (1.1, 2.5), (-1.1, 2.5)],
        awning,
        pattern=stripes(0.36, True),
        second=(238, 234, 226),
    )
    canvas.fill([(-1.2, 2.5), (1.2, 2.5), (1.15, 2.72), (-1.15, 2.72)], shaded(wall, 0.7))


def _hedge(canvas: Canvas, rng: np.random.Generator) -> None:
    leaf = pick(rng, LEAVES)
    half, top = 1.5, 1.15
    canvas.fill(
        [(-half, 0), (half, 0), (half, 0.9 * top), (-half, 0.9 * top)], shaded(leaf, 0.55), grain=0.15
    )
    for k in range(70):
        x, y = float(rng.uniform(-half, half)), float(rng.uniform(0.08, top))
        canvas.fill(
            _leafy(rng, (x, y), 0.16),
            shaded(leaf, 0.62 + 0.4 * y / top + 0.15 * k / 70),
            shade=0.2,
            grain=0.12,
        )


def _bush(canvas: Canvas, rng: np.random.Generator) -> None:
    foliage(canvas, rng, (0.0, 0.72), 0.95, 0.8, pick(rng, LEAVES), 40)


def _bench(canvas: Canvas, rng: np.random.Generator) -> None:
    wood, metal = pick(rng, BARK), pick(rng, METAL)
    for x in (-0.75, 0.75):
        canvas.limb((x, 0), (x, 0.9), 0.04, 0.035, metal)
        canvas.limb((x, 0.42), (x + 0.03, 0.0), 0.04, 0.035, metal)
    for y in (0.42, 0.62, 0.74, 0.86):
        canvas.fill([(-0.95, y), (0.95, y), (0.95, y + 0.09), (-0.95, y + 0.09)], wood, grain=0.12)


def _bins(canvas: Canvas, rng: np.random.Generator) -> None:
    for k in range(2):
        body, x = pick(rng, ((58, 92, 70), (70, 80, 96), (120, 96, 48))), -0.66 + 0.68 * k
        canvas.fill(
            [(x + 0.04, 0.06), (x + 0.56, 0.06), (x + 0.62, 1.1), (x, 1.1)],
            body,
            direction=(-1, 0.4),
            shade=0.25,
        )
        canvas.fill([(x - 0.03, 1.1), (x + 0.65, 1.1), (x + 0.6, 1.24), (x + 0.02, 1.24)], shaded(body, 0.75))


def _planter(canvas: Canvas, rng: np.random.Generator) -> None:
    stone = pick(rng, ((158, 150, 140), (120, 116, 114), (150, 100, 76)))
    foliage(canvas, rng, (0.0, 1.15), 0.62, 0.62, pick(rng, LEAVES), 26)
    for _ in range(10):
        at = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.8, 1.6)))
        canvas.fill(oval(at, 0.06, 0.06, n=10), pick(rng, CLOTH))
    canvas.fill(
        [(-0.5, 0), (0.5, 0), (0.62, 0.72), (-0.62, 0.72)], stone, direction=(-1, 0.3), shade=0.25, grain=0.08
    )


_KINDS: dict[str, tuple[Painter, Extent, float]] = {
    "tree": (_tree, (-2.3, 2.3, -0.05, 5.6), 3.0),
    "young_tree": (_young_tree, (-1.0, 1.0, -0.05, 3.2), 2.0),
    "lamp": (_lamp, (-0.3, 1.1, -0.05, 4.6), 1.4),
    "column": (_column, (-0.65, 0.65, -0.05, 3.1), 1.5),
    "kiosk": (_kiosk, (-1.4, 1.4, -0.05, 2.8), 0.8),
    "hedge": (_hedge, (-1.9, 1.9, -0.05, 1.5), 1.0),
    "bush": (_bush, (-1.3, 1.3, -0.05, 1.8), 1.2),
    "bench": (_bench, (-1.05, 1.05, -0.05, 1.05), 0.6),
    "bins": (_bins, (-0.75, 0.75, -0.05, 1.3), 0.8),
    "planter": (_planter, (-0.85, 0.85, -0.05, 2.0), 1.0),
}
COVERS: dict[str, tuple[Extent, ...]] = {
    "tree": ((-0.25, 0.25, 0.0, 3.0), (-1.5, 1.5, 2.7, 5.1)),
    "young_tree": ((-0.6, 0.6, 1.1, 2.9),),
    "column": ((-0.5, 0.5, 0.0, 2.7),),
    "kiosk": ((-1.15, 1.15, 0.0, 2.6),),
    "hedge": ((-1.5, 1.5, 0.0, 1.1),),
    "bush": ((-0.85, 0.85, 0.0, 1.4),),
    "bins": ((-0.66, 0.6, 0.0, 1.2),),
    "planter": ((-0.6, 0.6, 0.0, 1.6),),
}
"""Boxes (left, right, bottom, top) in metres that hide a body; what is not named hides little."""

_TALL = ("tree", "column", "young_tree", "lamp", "kiosk")


def place_occluders(
    rng: np.random.Generator, camera: Camera, count: int, road: tuple[float, float], frame_height: int
) -> list[Occluder]:
    """`count` things: most between the camera and the road, spread over the width, the rest beyond the
    road."""
    placed = []
    nearest = camera.depth_of_ground(0.98)
    slots = rng.permutation(count)
    for k in range(count):
        near = k < max(1, round(0.7 * count))
        names = list(_KINDS) if not near or k % 3 == 2 else list(_TALL)
        weights = np.asarray([_KINDS[name][2] for name in names])
        kind = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        low, high = (max(nearest, 4.0), 0.95 * road[0]) if near else (road[1] + 0.8, road[1] + 7.0)
        z = float(rng.uniform(low, max(high, low + 0.5)))
        u = (float(slots[k]) + float(rng.uniform(0.15, 0.85))) / count
        x = (u - 0.5) * 2.1 * camera.half_width_m(z)
        placed.append(Occluder(kind, x, z, _draw(kind, rng, camera.scale(z) * frame_height)))
    return sorted(placed, key=lambda o: -o.z_m)


def _draw(kind: str, rng: np.random.Generator, px_per_m: float) -> Sprite:
    painter, extent, _ = _KINDS[kind]
    canvas = Canvas(extent, min(px_per_m, _SPRITE_PX_LIMIT / (extent[3] - extent[2])))
    painter(canvas, rng)
    return canvas.finish()
