"""Cars from the side: bodies of several shapes, glass, lights, wheels that turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Point, oval, smooth
from syncvis_online.data.synthetic.looks import PAINT, Pose, pick, shaded
from syncvis_online.data.synthetic.wheel import GLASS, SPOKES, paint_wheel

# Each body over its length and height: bonnet, foot of the windscreen, front and rear of the roof, tail.
_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "sedan": ((0.5, 0.5), (0.22, 0.60), (0.06, 1.0), (-0.24, 0.99), (-0.36, 0.66), (-0.49, 0.62)),
    "hatch": ((0.5, 0.48), (0.25, 0.62), (0.06, 1.0), (-0.36, 0.98), (-0.48, 0.66), (-0.5, 0.6)),
    "suv": ((0.5, 0.54), (0.24, 0.64), (0.12, 1.0), (-0.40, 1.0), (-0.48, 0.66), (-0.5, 0.6)),
    "van": ((0.5, 0.46), (0.38, 0.58), (0.24, 1.0), (-0.48, 1.0), (-0.5, 0.62), (-0.5, 0.5)),
    "coupe": ((0.5, 0.48), (0.16, 0.66), (0.0, 1.0), (-0.16, 0.98), (-0.40, 0.70), (-0.5, 0.66)),
}


@dataclass(frozen=True, slots=True)
class CarLook:
    """A passenger car; it drives to the right and is mirrored by its heading."""

    shape: str
    length_m: float
    height_m: float
    colour: Colour
    trim: Colour
    rim: Colour
    stripe: bool
    lights_on: bool
    label: str = "car"
    phases: int = 4

    @property
    def extent(self) -> tuple[float, float, float, float]:
        half = self.length_m / 2 + 0.1
        return (-half, half, -0.05, self.height_m + 0.1)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (0.95 * self.height_m, 1.06 * self.height_m)

    @property
    def reach_m(self) -> float:
        return self.length_m / 2 + 0.05

    @property
    def cycle_m(self) -> float:
        return 2 * math.pi * 0.32 / SPOKES

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        L, H = self.length_m, self.height_m
        profile = [(x * L, y * H) for x, y in _SHAPES[self.shape]]
        low, sill = 0.22, 0.3
        canvas.fill([(-0.46 * L, 0.1), (0.46 * L, 0.1), (0.46 * L, 0.4), (-0.46 * L, 0.4)], (20, 20, 22))
        outline = [(0.5 * L, low), *smooth(profile), (-0.5 * L, low)]
        canvas.fill(outline, self.colour, shade=0.24, direction=(0.05, 1.0), grain=0.015)
        waist = profile[1][1]
        canvas.fill(
            [
                (0.49 * L, waist * 0.74),
                (0.49 * L, waist * 0.68),
                (-0.49 * L, waist * 0.72),
                (-0.49 * L, waist * 0.78),
            ],
            shaded(self.colour, 1.22),
            shade=0.05,
        )
        if self.stripe:
            canvas.fill([(0.47 * L, 0.42), (0.47 * L, 0.5), (-0.48 * L, 0.5), (-0.48 * L, 0.42)], self.trim)
        canvas.fill(
            [(-0.48 * L, low), (0.48 * L, low), (0.47 * L, sill), (-0.47 * L, sill)],
            shaded(self.colour, 0.45),
        )
        self._paint_glass(canvas, profile)
        self._paint_details(canvas, waist)
        for x in (0.31 * L, -0.31 * L):
            paint_wheel(canvas, (x, 0.32), 0.33, pose.phase, self.rim, arch=True)

    def _paint_glass(self, canvas: Canvas, profile: list[Point]) -> None:
        (foot_x, waist), (roof_f, roof), (roof_r, _), (tail_x, tail_y) = (
            profile[1],
            profile[2],
            profile[3],
            profile[4],
        )
        top, bottom = roof - 0.09, waist + 0.02
        rear = tail_x + (roof_r - tail_x) * 0.25
        glass = [
            (foot_x - 0.12, bottom),
            (roof_f + 0.0, top),
            (roof_r + 0.06, top),
            (rear + 0.1, max(bottom, tail_y - 0.05)),
        ]
        if self.shape == "van":
            glass = [
                (foot_x - 0.1, bottom),
                (roof_f, top),
                (0.02 * self.length_m, top),
                (0.02 * self.length_m, bottom),
            ]
        canvas.fill(glass, GLASS, shade=0.45, direction=(0.5, 1.0), grain=0.02)
        x = roof_f - 0.75
        canvas.fill(
            [(x, bottom), (x + 0.28, top), (x + 0.42, top), (x + 0.14, bottom)], (170, 196, 210), alpha=0.3
        )
        head = (roof_f - 0.28, (top + bottom) / 2)
        canvas.fill(oval(head, 0.11, 0.14), (58, 46, 42), alpha=0.75)
        for post in (0.36, 0.72) if self.shape != "van" else ():
            px = roof_f + (roof_r - roof_f) * post
            canvas.fill(
                [(px, bottom), (px, top + 0.02), (px - 0.07, top + 0.02), (px - 0.07, bottom)],
                shaded(self.colour, 0.8),
            )

    def _paint_details(self, canvas: Canvas, waist: float) -> None:
        L = self.length_m
        dark = shaded(self.colour, 0.62)
        for x in (0.2 * L, -0.03 * L, -0.24 * L):
            canvas.fill([(x, 0.34), (x + 0.022, 0.34), (x + 0.022, waist), (x, waist)], dark)
        for x in (0.0, -0.21 * L):
            canvas.fill(
                [
                    (x + 0.04, waist - 0.14),
                    (x + 0.2, waist - 0.14),
                    (x + 0.2, waist - 0.1),
                    (x + 0.04, waist - 0.1),
                ],
                dark,
            )
        front = (255, 250, 214) if self.lights_on else (224, 228, 226)
        canvas.fill(oval((0.475 * L, 0.62 * waist), 0.11, 0.075, 0.2), front, shade=0.05)
        canvas.fill(
            oval((-0.48 * L, 0.7 * waist), 0.075, 0.1), (232, 40, 36) if self.lights_on else (158, 30, 32)
        )
        canvas.fill([(0.4 * L, 0.26), (0.5 * L, 0.26), (0.5 * L, 0.33), (0.42 * L, 0.33)], self.trim)
        canvas.fill([(-0.4 * L, 0.26), (-0.5 * L, 0.26), (-0.5 * L, 0.33), (-0.42 * L, 0.33)], self.trim)


def draw_car(rng: np.random.Generator, *, lights_on: bool) -> CarLook:
    shape = list(_SHAPES)[int(rng.integers(len(_SHAPES)))]
    height = {"sedan": 1.45, "hatch": 1.5, "suv": 1.75, "van": 1.95, "coupe": 1.35}[shape]
    return CarLook(
        shape=shape,
        length_m=float(rng.uniform(3.7, 4.7)),
        height_m=height * float(rng.uniform(0.96, 1.06)),
        colour=pick(rng, PAINT, 8),
        trim=pick(rng, ((48, 50, 54), (200, 202, 204), (92, 94, 98))),
        rim=pick(rng, ((176, 178, 182), (96, 98, 102), (210, 210, 206))),
        stripe=bool(rng.random() < 0.2),
        lights_on=lights_on,
    )
