"""What stands still behind everything: sky, skyline, house fronts or trees, and the ground in perspective."""

from __future__ import annotations

import cv2
import numpy as np

from syncvis_online.data.synthetic.backdrop import Backdrop
from syncvis_online.data.synthetic.camera import Camera, Colour, Light
from syncvis_online.data.synthetic.canvas import Canvas, Floats, grain_tile
from syncvis_online.data.synthetic.layout import Layout
from syncvis_online.data.synthetic.looks import mix, pick
from syncvis_online.types import Image

ASPHALT: tuple[Colour, ...] = ((92, 92, 96), (108, 106, 104), (78, 80, 86))
PAVING: tuple[Colour, ...] = ((176, 170, 160), (158, 150, 140), (190, 172, 150), (150, 152, 156))
GRASS: tuple[Colour, ...] = ((96, 128, 66), (116, 138, 72), (84, 116, 74), (140, 138, 84))


def paint_background(
    rng: np.random.Generator, camera: Camera, light: Light, layout: Layout, size: tuple[int, int], pad: int
) -> Image:
    """The still picture, uint8 (H + 2 pad, W + 2 pad, 3), with the frame's top left pixel at (pad, pad)."""
    height, width = size
    ys = (np.arange(height + 2 * pad, dtype=np.float32) - pad + 0.5) / height
    xs = (np.arange(width + 2 * pad, dtype=np.float32) - pad + 0.5) / height
    picture = _sky(rng, light, camera, ys, xs)
    base = camera.ground_y(layout.backdrop_m)
    canvas = Canvas((-pad / height, camera.aspect + pad / height, -base - 0.02, pad / height), height)
    Backdrop(rng, canvas, camera, light, layout).paint()
    sprite = canvas.finish()
    x, y = round(pad - sprite.origin[0]), round(pad - sprite.origin[1])
    part = sprite.rgba[max(-y, 0) : len(ys) - y, max(-x, 0) : len(xs) - x].astype(np.float32)
    roi = picture[max(y, 0) : max(y, 0) + part.shape[0], max(x, 0) : max(x, 0) + part.shape[1]]
    roi[:] = roi * (1 - part[..., 3:] / 255) + part[..., :3]
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
