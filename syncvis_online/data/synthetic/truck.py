"""Trucks from the side: a cab with a box, a tank or a heap on a flat bed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Pattern, oval, stripes
from syncvis_online.data.synthetic.looks import CLOTH, PAINT, Pose, mix, pick, shaded
from syncvis_online.data.synthetic.wheel import GLASS, SPOKES, paint_wheel


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
        return 2 * math.pi * 0.45 / SPOKES

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
        canvas.fill(
            [(-L / 2, 0.75), (front, 0.75), (front, 1.35), (-L / 2, 1.35)],
            self.box,
            pattern=stripes(0.4, True),
            second=shaded(self.box, 0.86),
        )
        heap = [(-L / 2 + 0.2, 1.3)]
        heap += [
            (-L / 2 + 0.2 + (front + L / 2 - 0.4) * t, 1.35 + 0.3 * H * math.sin(math.pi * t) ** 0.6 * 0.7)
            for t in np.linspace(0.05, 0.95, 11).tolist()
        ]
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
        canvas.fill(
            [(x0 + 0.62, mid), (x1 - 0.16, mid), (x1 - 0.42, top - 0.16), (x0 + 0.62, top - 0.16)],
            GLASS,
            shade=0.45,
            direction=(0.5, 1.0),
        )
        canvas.fill(oval((x0 + 1.05, mid + 0.25), 0.14, 0.17), (60, 48, 42), alpha=0.7)
        canvas.fill(
            [(x0 + 0.55, 0.62), (x0 + 0.575, 0.62), (x0 + 0.575, top - 0.2), (x0 + 0.55, top - 0.2)],
            shaded(self.cab, 0.6),
        )
        canvas.fill([(x1 - 0.4, 0.42), (x1 + 0.05, 0.42), (x1 + 0.05, 0.66), (x1 - 0.4, 0.66)], (58, 60, 64))
        canvas.fill(oval((x1 - 0.06, 0.84), 0.1, 0.1), (255, 246, 210), shade=0.05)


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
