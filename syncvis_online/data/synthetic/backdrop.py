"""What closes the street: house fronts, a wall or trees, before a skyline in the haze."""

from __future__ import annotations

import math

import numpy as np

from syncvis_online.data.synthetic.camera import Camera, Colour, Light
from syncvis_online.data.synthetic.canvas import Canvas, stripes
from syncvis_online.data.synthetic.layout import Layout
from syncvis_online.data.synthetic.looks import CLOTH, mix, pick, shaded
from syncvis_online.data.synthetic.occluders import LEAVES, foliage

WALLS: tuple[Colour, ...] = (
    (196, 158, 122),
    (178, 104, 82),
    (214, 200, 176),
    (156, 150, 146),
    (206, 176, 112),
    (150, 116, 100),
    (224, 214, 202),
    (136, 152, 160),
    (188, 142, 138),
    (122, 132, 122),
)


class Backdrop:
    """Paints in picture heights: x to the right from the frame's left edge, y up from its top edge."""

    def __init__(
        self, rng: np.random.Generator, canvas: Canvas, camera: Camera, light: Light, layout: Layout
    ) -> None:
        self.rng, self.canvas, self.camera, self.light, self.layout = rng, canvas, camera, light, layout
        self.base = -camera.ground_y(layout.backdrop_m)
        self.metre = camera.scale(layout.backdrop_m)
        self.veil = 0.75 * (1 - math.exp(-layout.backdrop_m / light.haze_m))

    def far(self, colour: Colour) -> Colour:
        return mix(colour, self.light.haze, self.veil)

    def paint(self) -> None:
        self._skyline()
        if self.layout.backdrop == "houses":
            self._houses()
        elif self.layout.backdrop == "wall":
            self._treeline(0.8)
            self._wall()
        else:
            self._treeline(1.0)
            self._treeline(0.6)
        if self.rng.random() < 0.6:
            self._trees_in_front()

    def _rect(self, x: float, y: float, w: float, h: float, colour: Colour, **look: object) -> None:
        self.canvas.fill([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour, **look)  # type: ignore[arg-type]

    def _skyline(self) -> None:
        x = -0.1
        while x < self.camera.aspect + 0.1:
            w, h = float(self.rng.uniform(0.05, 0.2)), float(self.rng.uniform(0.06, 0.24))
            tone = mix(pick(self.rng, WALLS), self.light.haze, float(self.rng.uniform(0.68, 0.85)))
            self._rect(x, self.base, w, h, tone, grain=0.01, shade=0.05)
            x += w * float(self.rng.uniform(0.7, 1.3))

    def _houses(self) -> None:
        x = -float(self.rng.uniform(0.05, 0.3))
        while x < self.camera.aspect + 0.1:
            width = float(self.rng.uniform(7.0, 15.0)) * self.metre
            floors = int(self.rng.integers(2, 6))
            if self.rng.random() < 0.88:
                self._house(x, width, floors)
            x += width

    def _house(self, x: float, width: float, floors: int) -> None:
        rng, m = self.rng, self.metre
        wall = self.far(pick(rng, WALLS, 12))
        storey = float(rng.uniform(2.9, 3.5)) * m
        height = storey * floors + 0.6 * m
        bricks = stripes(0.35 * m, False) if rng.random() < 0.4 else None
        self._rect(
            x,
            self.base,
            width,
            height,
            wall,
            shade=0.1,
            grain=0.06,
            pattern=bricks,
            second=shaded(wall, 0.92),
        )
        roof = self.far(pick(rng, ((118, 70, 58), (78, 78, 86), (96, 88, 84))))
        if rng.random() < 0.5:
            top, rise = self.base + height, float(rng.uniform(1.2, 2.6)) * m
            self.canvas.fill(
                [
                    (x - 0.2 * m, top),
                    (x + width + 0.2 * m, top),
                    (x + width - 1.2 * m, top + rise),
                    (x + 1.2 * m, top + rise),
                ],
                roof,
                pattern=stripes(0.3 * m, False),
                second=shaded(roof, 0.88),
                grain=0.07,
            )
        else:
            self._rect(
                x - 0.1 * m, self.base + height - 0.25 * m, width + 0.2 * m, 0.35 * m, shaded(wall, 0.8)
            )
        columns = max(1, int(width / (float(rng.uniform(2.0, 2.9)) * m)))
        pitch = width / columns
        frame = self.far(mix(wall, (250, 248, 240), 0.6))
        for floor in range(1, floors):
            for column in range(columns):
                self._window(x + (column + 0.5) * pitch, self.base + floor * storey + 0.75 * m, frame)
        self._ground_floor(x, width, storey, pitch, columns)
        if rng.random() < 0.5:
            self._rect(x, self.base + storey - 0.06 * m, width, 0.2 * m, shaded(wall, 1.12))

    def _glass(self) -> Colour:
        if self.rng.random() < self.light.lit_windows:
            return pick(self.rng, ((255, 222, 150), (250, 206, 128), (236, 236, 214)))
        return self.far(mix((62, 78, 94), self.light.sky_low, float(self.rng.uniform(0.05, 0.4))))

    def _window(self, x: float, y: float, frame: Colour) -> None:
        m = self.metre
        w, h = 1.1 * m, 1.5 * m
        self._rect(x - w / 2 - 0.12 * m, y - 0.12 * m, w + 0.24 * m, h + 0.24 * m, frame, shade=0.05)
        self._rect(x - w / 2, y, w, h, self._glass(), shade=0.3)
        if m > 0.015:
            self._rect(x - 0.04 * m, y, 0.08 * m, h, frame, shade=0.02)
            self._rect(x - w / 2 - 0.2 * m, y - 0.24 * m, w + 0.4 * m, 0.14 * m, shaded(frame, 0.85))

    def _ground_floor(self, x: float, width: float, storey: float, pitch: float, columns: int) -> None:
        rng, m = self.rng, self.metre
        shop = rng.random() < 0.55
        if shop:
            self._rect(
                x + 0.3 * m, self.base, width - 0.6 * m, storey * 0.92, self.far(pick(rng, CLOTH)), shade=0.1
            )
        for column in range(columns):
            left = x + column * pitch
            if column == columns // 2:
                self._rect(
                    left + pitch / 2 - 0.55 * m,
                    self.base,
                    1.1 * m,
                    2.2 * m,
                    self.far(pick(rng, ((92, 60, 44), (50, 66, 60), (70, 70, 90)))),
                )
            elif shop:
                self._rect(
                    left + 0.2 * m, self.base + 0.5 * m, pitch - 0.4 * m, 1.7 * m, self._glass(), shade=0.35
                )
            else:
                self._window(left + pitch / 2, self.base + 0.8 * m, self.far((226, 222, 212)))
        if shop:
            cloth = self.far(pick(rng, CLOTH))
            self.canvas.fill(
                [
                    (x + 0.1 * m, self.base + 2.2 * m),
                    (x + width - 0.1 * m, self.base + 2.2 * m),
                    (x + width - 0.3 * m, self.base + 2.9 * m),
                    (x + 0.3 * m, self.base + 2.9 * m),
                ],
                cloth,
                pattern=stripes(0.6 * m, True),
                second=self.far((240, 236, 228)),
            )

    def _treeline(self, share: float) -> None:
        leaf = self.far(pick(self.rng, LEAVES))
        self._rect(
            -0.1, self.base, self.camera.aspect + 0.2, 1.6 * self.metre * share, shaded(leaf, 0.55), grain=0.1
        )
        x = -0.1
        while x < self.camera.aspect + 0.1:
            r = float(self.rng.uniform(2.0, 4.2)) * self.metre * share
            foliage(
                self.canvas,
                self.rng,
                (x, self.base + 1.2 * r),
                1.15 * r,
                1.35 * r,
                shaded(leaf, 0.7 + 0.35 * (1 - share) + 0.1),
                26,
            )
            x += r * float(self.rng.uniform(0.8, 1.6))

    def _wall(self) -> None:
        stone = self.far(pick(self.rng, WALLS))
        height = float(self.rng.uniform(2.2, 4.0)) * self.metre
        self._rect(
            -0.1,
            self.base,
            self.camera.aspect + 0.2,
            height,
            stone,
            grain=0.12,
            shade=0.12,
            pattern=stripes(0.55 * self.metre, False),
            second=shaded(stone, 0.9),
        )
        self._rect(-0.1, self.base + height, self.camera.aspect + 0.2, 0.25 * self.metre, shaded(stone, 0.75))

    def _trees_in_front(self) -> None:
        leaf, bark = self.far(pick(self.rng, LEAVES)), self.far((88, 72, 60))
        for _ in range(int(self.rng.integers(2, 6))):
            x = float(self.rng.uniform(0.0, self.camera.aspect))
            m = self.metre * 1.12
            foot = self.base - 0.015
            self.canvas.limb((x, foot), (x, foot + 3.0 * m), 0.22 * m, 0.15 * m, bark, grain=0.1)
            foliage(self.canvas, self.rng, (x, foot + 4.2 * m), 1.9 * m, 2.0 * m, leaf, 36)
