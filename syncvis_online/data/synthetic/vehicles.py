"""Cars and trucks from the side: bodies of several shapes, glass, lights, wheels that turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Pattern, Point, oval, smooth, stripes
from syncvis_online.data.synthetic.looks import CLOTH, PAINT, PHASES, Pose, mix, pick, shaded

GLASS: Colour = (74, 96, 112)
TYRE: Colour = (34, 34, 36)
_SPOKES = 5

# Greenhouse of each body over the length L and height H: bonnet, windscreen foot, roof front, roof rear, tail.
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
        return 2 * math.pi * 0.32 / _SPOKES

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        L, H = self.length_m, self.height_m
        profile = [(x * L, y * H) for x, y in _SHAPES[self.shape]]
        low, sill = 0.22, 0.3
        canvas.fill([(-0.46 * L, 0.1), (0.46 * L, 0.1), (0.46 * L, 0.4), (-0.46 * L, 0.4)], (20, 20, 22))
        outline = [(0.5 * L, low), *smooth(profile), (-0.5 * L, low)]
        canvas.fill(outline, self.colour, shade=0.24, direction=(0.05, 1.0), grain=0.015)
        waist = profile[1][1]
        canvas.fill(
            [(0.49 * L, waist * 0.74), (0.49 * L, waist * 0.68), (-0.49 * L, waist * 0.72), (-0.49 * L, waist * 0.78)],
            shaded(self.colour, 1.22), shade=0.05,
        )  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class TruckLook:
    """A cab with a box, a tank or a flat bed behind it; it drives to the right."""

    kind: str
    length_m: float
    height_m: float
    cab: Colour
    box: Colour
    band: Colour
    pattern: Pattern | None
    rim: Colour
    label: str = "truck"
    phases: int = 4

    @property
    def extent(self) -> tuple[float, float, float, float]:
        half = self.length_m / 2 + 0.15
        return (-half, half, -0.05, self.height_m + 0.1)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (0.72 * self.height_m, 1.05 * self.height_m)

    @property
    def reach_m(self) -> float:
        return self.length_m / 2 + 0.05

    @property
    def cycle_m(self) -> float:
        return 2 * math.pi * 0.45 / _SPOKES

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        L, H = self.length_m, self.height_m
        cab_x = L / 2 - 1.9
        canvas.fill(
            [(-L / 2 + 0.1, 0.45), (L / 2 - 0.2, 0.45), (L / 2 - 0.2, 0.78), (-L / 2 + 0.1, 0.78)],
            (44, 44, 48),
        )
        getattr(self, f"_paint_{self.kind}")(canvas, cab_x - 0.15)
        self._paint_cab(canvas, cab_x, 0.86 * H if self.kind != "flat" else 0.94 * H * 0.8)
        wheels = [L / 2 - 0.95, -L / 2 + 1.2] + ([-L / 2 + 2.2] if L > 6.5 else [])
        for x in wheels:
            paint_wheel(canvas, (x, 0.45), 0.46, pose.phase, self.rim, arch=False)

    def _paint_box(self, canvas: Canvas, front: float) -> None:
        L, H = self.length_m, self.height_m
        body = [(-L / 2, 0.75), (front, 0.75), (front, H), (-L / 2, H)]
        canvas.fill(
            body,
            self.box,
            shade=0.14,
            direction=(0.1, 1.0),
            pattern=self.pattern,
            second=shaded(self.box, 0.9),
        )
        canvas.fill(
            [
                (-L / 2, 0.36 * H + 0.3),
                (front, 0.36 * H + 0.5),
                (front, 0.36 * H + 0.9),
                (-L / 2, 0.36 * H + 0.6),
            ],
            self.band,
        )
        canvas.fill([(-L / 2, H - 0.1), (front, H - 0.1), (front, H), (-L / 2, H)], shaded(self.box, 0.7))
        canvas.fill([(-L / 2, 0.7), (front, 0.7), (front, 0.86), (-L / 2, 0.86)], shaded(self.box, 0.5))
        canvas.fill(oval((-L / 2 + 0.14, 0.8), 0.07, 0.09), (216, 44, 40))

    def _paint_tank(self, canvas: Canvas, front: float) -> None:
        L, H = self.length_m, self.height_m
        r = (H - 0.9) / 2
        points = [
            (front - 0.35 + 0.35 * math.cos(t), 0.85 + r + r * math.sin(t))
            for t in np.linspace(-1.57, 1.57, 9)
        ]
        points += [
            (-L / 2 + 0.35 - 0.35 * math.cos(t), 0.85 + r - r * math.sin(t))
            for t in np.linspace(-1.57, 1.57, 9)
        ]
        canvas.fill(points, self.box, shade=0.4, direction=(0.0, 1.0))
        for x in np.linspace(-L / 2 + 0.7, front - 0.7, 4).tolist():
            canvas.fill(
                [(x, 0.86), (x + 0.07, 0.86), (x + 0.07, H - 0.06), (x, H - 0.06)],
                self.band,
                shade=0.4,
                direction=(0, 1),
            )

    def _paint_flat(self, canvas: Canvas, front: float) -> None:
        L, H = self.length_m, self.height_m
        canvas.fill([(-L / 2, 0.75), (front, 0.75), (front, 1.35), (-L / 2, 1.35)], self.box, pattern=stripes(0.4, True),
                    second=shaded(self.box, 0.86))  # fmt: skip
        heap = [(-L / 2 + 0.2, 1.3)]
        heap += [(-L / 2 + 0.2 + (front + L / 2 - 0.4) * t, 1.35 + 0.3 * H * math.sin(math.pi * t) ** 0.6 * 0.7)
                 for t in np.linspace(0.05, 0.95, 11).tolist()]  # fmt: skip
        heap += [(front - 0.2, 1.3)]
        canvas.fill(heap, self.band, grain=0.12, shade=0.25)

    def _paint_cab(self, canvas: Canvas, x0: float, top: float) -> None:
        x1 = self.length_m / 2
        outline = [
            (x0, 0.5),
            (x1, 0.5),
            (x1, 0.5 + 0.42 * (top - 0.5)),
            (x1 - 0.28, top),
            (x0 + 0.1, top),
            (x0, top - 0.12),
        ]
        canvas.fill(outline, self.cab, shade=0.22, direction=(0.1, 1.0), grain=0.02)
        mid = 0.5 + 0.46 * (top - 0.5)
        canvas.fill([(x0 + 0.62, mid), (x1 - 0.16, mid), (x1 - 0.42, top - 0.16), (x0 + 0.62, top - 0.16)], GLASS, shade=0.45,
                    direction=(0.5, 1.0))  # fmt: skip
        canvas.fill(oval((x0 + 1.05, mid + 0.25), 0.14, 0.17), (60, 48, 42), alpha=0.7)
        canvas.fill(
            [(x0 + 0.55, 0.62), (x0 + 0.575, 0.62), (x0 + 0.575, top - 0.2), (x0 + 0.55, top - 0.2)],
            shaded(self.cab, 0.6),
        )
        canvas.fill([(x1 - 0.4, 0.42), (x1 + 0.05, 0.42), (x1 + 0.05, 0.66), (x1 - 0.4, 0.66)], (58, 60, 64))
        canvas.fill(oval((x1 - 0.06, 0.84), 0.1, 0.1), (255, 246, 210), shade=0.05)


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


def draw_truck(rng: np.random.Generator) -> TruckLook:
    kind = ("box", "box", "tank", "flat")[int(rng.integers(4))]
    box = mix(pick(rng, PAINT), (230, 230, 226), float(rng.choice([0.0, 0.85])))
    return TruckLook(
        kind=kind,
        length_m=float(rng.uniform(5.6, 7.6)),
        height_m=float(rng.uniform(2.7, 3.2)),
        cab=pick(rng, PAINT),
        box=box,
        band=pick(rng, CLOTH),
        pattern=stripes(float(rng.uniform(0.25, 0.5)), bool(rng.random() < 0.7))
        if rng.random() < 0.6
        else None,
        rim=pick(rng, ((150, 152, 156), (196, 190, 180), (168, 60, 52))),
    )


def paint_wheel(canvas: Canvas, hub: Point, radius: float, phase: int, rim: Colour, *, arch: bool) -> None:
    """A tyre with a rim of five spokes; `phase` of PHASES turns it by one spoke."""
    if arch:
        canvas.fill(oval((hub[0], hub[1] + 0.02), radius * 1.16, radius * 1.16), (24, 24, 26))
    canvas.fill(oval(hub, radius, radius, n=32), TYRE, shade=0.3)
    canvas.fill(oval(hub, radius * 0.66, radius * 0.66), shaded(rim, 0.45))
    for k in range(_SPOKES):
        turn = -2 * math.pi * (k + phase / PHASES) / _SPOKES
        tip = (hub[0] + 0.58 * radius * math.cos(turn), hub[1] + 0.58 * radius * math.sin(turn))
        canvas.limb(hub, tip, 0.1 * radius, 0.13 * radius, rim)
    canvas.fill(oval(hub, radius * 0.18, radius * 0.18, n=12), shaded(rim, 0.8))
