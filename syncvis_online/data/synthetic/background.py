"""What stands still behind everything: sky, skyline, house fronts or trees, and the ground in perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from syncvis_online.data.synthetic.camera import Camera, Colour, Light
from syncvis_online.data.synthetic.canvas import Canvas, Floats, grain_tile, stripes
from syncvis_online.data.synthetic.looks import CLOTH, mix, pick, shaded
from syncvis_online.data.synthetic.occluders import LEAVES, foliage
from syncvis_online.types import Image

WALLS: tuple[Colour, ...] = (
    (196, 158, 122), (178, 104, 82), (214, 200, 176), (156, 150, 146), (206, 176, 112), (150, 116, 100),
    (224, 214, 202), (136, 152, 160), (188, 142, 138), (122, 132, 122),
)  # fmt: skip
ASPHALT: tuple[Colour, ...] = ((92, 92, 96), (108, 106, 104), (78, 80, 86))
PAVING: tuple[Colour, ...] = ((176, 170, 160), (158, 150, 140), (190, 172, 150), (150, 152, 156))
GRASS: tuple[Colour, ...] = ((96, 128, 66), (116, 138, 72), (84, 116, 74), (140, 138, 84))


@dataclass(frozen=True, slots=True)
class Layout:
    """Depths in metres: the road between `road[0]` and `road[1]`, the backdrop at `backdrop_m`."""

    road: tuple[float, float]
    backdrop_m: float
    near: str
    far: str
    backdrop: str


def draw_layout(rng: np.random.Generator, camera: Camera) -> Layout:
    start = float(rng.uniform(8.6, 10.4)) * camera.focal / 1.25
    grounds = ("paving", "paving", "grass", "gravel")
    return Layout(
        road=(start, start + float(rng.uniform(6.0, 8.0))),
        backdrop_m=float(rng.uniform(26.0, 62.0)),
        near=grounds[int(rng.integers(4))],
        far=grounds[int(rng.integers(4))],
        backdrop=("houses", "houses", "houses", "park", "wall")[int(rng.integers(5))],
    )


def paint_background(rng: np.random.Generator, camera: Camera, light: Light, layout: Layout, size: tuple[int, int],
                     pad: int) -> Image:  # fmt: skip
    """The still picture, uint8 (H + 2 pad, W + 2 pad, 3), where the frame's top left pixel is at (pad, pad)."""
    height, width = size
    ys = (np.arange(height + 2 * pad, dtype=np.float32) - pad + 0.5) / height
    xs = (np.arange(width + 2 * pad, dtype=np.float32) - pad + 0.5) / height
    picture = _sky(rng, light, camera, ys, xs)
    base = camera.ground_y(layout.backdrop_m)
    canvas = Canvas((-pad / height, camera.aspect + pad / height, -base - 0.02, pad / height), height)
    _Backdrop(rng, canvas, camera, light, layout).paint()
    rgba = canvas.finish().rgba.astype(np.float32)[1:, 1:]
    h, w = min(rgba.shape[0], picture.shape[0]), min(rgba.shape[1], picture.shape[1])
    part = rgba[:h, :w]
    picture[:h, :w] = picture[:h, :w] * (1 - part[..., 3:] / 255) + part[..., :3]
    first = int(np.searchsorted(ys, base))
    picture[first:] = _ground(rng, camera, light, layout, ys[first:], xs)
    return np.clip(picture, 0, 255).astype(np.uint8)


def clouds(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Smooth noise of four octaves, float32, mean 0 and deviation 1."""
    total = np.zeros(shape, np.float32)
    for octave in range(4):
        cells = 3 * 2**octave
        grid = rng.standard_normal((cells, cells * 2)).astype(np.float32)
        total += cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    normal: Floats = ((total - total.mean()) / (total.std() + 1e-6)).astype(np.float32)
    return normal


def _sky(rng: np.random.Generator, light: Light, camera: Camera, ys: Floats, xs: Floats) -> Floats:
    t = np.clip(ys / max(camera.horizon, 0.05), 0, 1)[:, None, None] ** 1.2
    sky = np.asarray(light.sky_top, np.float32) * (1 - t) + np.asarray(light.sky_low, np.float32) * t
    cover = np.clip(clouds(rng, (len(ys), len(xs))) * 0.5 + float(rng.uniform(-0.35, 0.35)), 0, 1)[..., None]
    bright = np.asarray(mix(light.sky_low, (255, 255, 255), 0.45), np.float32)
    picture: Floats = np.broadcast_to(sky, (len(ys), len(xs), 3)) * (1 - 0.65 * cover) + bright * (
        0.65 * cover
    )
    return picture.astype(np.float32)


class _Backdrop:
    """Paints in picture heights: x to the right from the frame's left edge, y up from its top edge (negative)."""

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
            self.canvas.fill([(x - 0.2 * m, top), (x + width + 0.2 * m, top), (x + width - 1.2 * m, top + rise), (x + 1.2 * m, top + rise)],
                             roof, pattern=stripes(0.3 * m, False), second=shaded(roof, 0.88), grain=0.07)  # fmt: skip
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
                [(x + 0.1 * m, self.base + 2.2 * m), (x + width - 0.1 * m, self.base + 2.2 * m), (x + width - 0.3 * m, self.base + 2.9 * m),
                 (x + 0.3 * m, self.base + 2.9 * m)],
                cloth, pattern=stripes(0.6 * m, True), second=self.far((240, 236, 228)),
            )  # fmt: skip

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
        self._rect(-0.1, self.base, self.camera.aspect + 0.2, height, stone, grain=0.12, shade=0.12,
                   pattern=stripes(0.55 * self.metre, False), second=shaded(stone, 0.9))  # fmt: skip
        self._rect(-0.1, self.base + height, self.camera.aspect + 0.2, 0.25 * self.metre, shaded(stone, 0.75))

    def _trees_in_front(self) -> None:
        leaf, bark = self.far(pick(self.rng, LEAVES)), self.far((88, 72, 60))
        for _ in range(int(self.rng.integers(2, 6))):
            x = float(self.rng.uniform(0.0, self.camera.aspect))
            m = self.metre * 1.12
            foot = self.base - 0.015
            self.canvas.limb((x, foot), (x, foot + 3.0 * m), 0.22 * m, 0.15 * m, bark, grain=0.1)
            foliage(self.canvas, self.rng, (x, foot + 4.2 * m), 1.9 * m, 2.0 * m, leaf, 36)


def _ground(
    rng: np.random.Generator, camera: Camera, light: Light, layout: Layout, ys: Floats, xs: Floats
) -> Floats:
    z = (camera.focal * camera.height_m / (ys - camera.horizon))[:, None]
    x = (xs[None, :] - camera.aspect / 2) * z / camera.focal
    z = np.broadcast_to(z, x.shape)
    fine = np.clip(1.6 - z / 22.0, 0.15, 1.0)
    picture = np.empty((*x.shape, 3), np.float32)
    edge0, edge1 = layout.road
    zones = ((0.0, edge0, layout.near), (edge0, edge1, "road"), (edge1, 1e6, layout.far))
    for low, high, kind in zones:
        rows = np.flatnonzero((z[:, 0] >= low) & (z[:, 0] < high))
        if rows.size:
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            picture[part] = _surface(rng, kind, x[part], z[part], fine[part])
    _kerbs_and_lines(rng, picture, x, z, layout)
    spots = _lookup(x, z, 3.1, 11) * 0.05 + _lookup(x, z, 11.0, 57) * 0.05
    picture *= (1 + spots)[..., None]
    veil = (0.75 * (1 - np.exp(-z / light.haze_m)))[..., None]
    ground: Floats = picture * (1 - veil) + np.asarray(light.haze, np.float32) * veil
    return ground


def _lookup(x: Floats, z: Floats, cell_m: float, offset: int) -> Floats:
    """Noise fixed to the ground, one value a cell of `cell_m`, smooth between them."""
    u = np.asarray(np.mod(x / cell_m * 4 + offset, 512), np.float32)
    v = np.asarray(np.mod(z / cell_m * 4 + 2 * offset, 512), np.float32)
    return np.asarray(cv2.remap(grain_tile(), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _surface(rng: np.random.Generator, kind: str, x: Floats, z: Floats, fine: Floats) -> Floats:
    palette = {
        "road": ASPHALT,
        "grass": GRASS,
        "paving": PAVING,
        "gravel": ((182, 164, 136), (168, 158, 146)),
    }[kind]
    base = np.asarray(pick(rng, palette, 3 if kind == "road" else 6), np.float32)
    rough = {"road": 0.05, "grass": 0.13, "paving": 0.035, "gravel": 0.10}[kind]
    tone = 1 + rough * fine * _lookup(x, z, 0.16, 3) + 0.6 * rough * _lookup(x, z, 1.3, 29)
    if kind == "paving":
        a, b = float(rng.uniform(0.5, 1.1)), float(rng.uniform(0.5, 1.1))
        shift = np.floor(z / b) * (a / 2 if rng.random() < 0.5 else 0.0)
        joint = (np.mod(x + shift, a) < 0.035 + 0.002 * z) | (np.mod(z, b) < 0.05 + 0.004 * z)
        tone = tone - 0.16 * fine * joint
        cell = np.sin(np.floor((x + shift) / a) * 12.9898 + np.floor(z / b) * 78.233) * 43758.5453
        tone = tone + 0.09 * fine * (cell - np.floor(cell) - 0.5)
    if kind == "grass":
        mown = np.tanh(2.0 * np.sin(x * 1.1 + float(rng.uniform(0, 6.28))))
        tone = tone + 0.035 * mown * (1.0 if rng.random() < 0.4 else 0.0)
    surface: Floats = base * np.asarray(tone, np.float32)[..., None]
    return surface


def _kerbs_and_lines(rng: np.random.Generator, picture: Floats, x: Floats, z: Floats, layout: Layout) -> None:
    edge0, edge1 = layout.road
    kerb = np.asarray(pick(rng, ((196, 192, 184), (150, 146, 140))), np.float32)
    for edge, thick in ((edge0 - 0.22, 0.22), (edge1, 0.3)):
        inside = (z >= edge) & (z < edge + thick)
        picture[inside] = kerb * (1 + 0.06 * _lookup(x, z, 0.5, 5)[inside])[:, None]
    shade = (z >= edge0) & (z < edge0 + 0.12)
    picture[shade] *= 0.7
    worn = np.clip(0.75 + 0.25 * _lookup(x, z, 0.4, 91), 0.15, 0.95)
    middle = (edge0 + edge1) / 2
    dashes = (np.abs(z - middle) < 0.09) & (np.mod(x, 5.0) < 2.6)
    if rng.random() < 0.55:
        start = float(rng.uniform(-6.0, 3.0))
        bars = (
            (x > start) & (x < start + 3.4) & (z > edge0 + 0.5) & (z < edge1 - 0.4) & (np.mod(z, 1.0) < 0.5)
        )
        dashes = (dashes & ((x < start - 0.5) | (x > start + 3.9))) | bars
    picture[dashes] += (np.asarray((226, 224, 216), np.float32) - picture[dashes]) * worn[dashes][:, None]
