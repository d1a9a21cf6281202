"""The synthetic camera: an endless street scene with exact ground truth, the same for the same seed.

Owns the contract of a frame and of its ground truth. Every source of chance has a generator of its own, drawn
from the seed; nothing global is read or set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from syncvis_online.data.synthetic.actors import Actor
from syncvis_online.data.synthetic.background import paint_background
from syncvis_online.data.synthetic.camera import draw_camera, draw_light
from syncvis_online.data.synthetic.compose import Alpha, Composer, Layer
from syncvis_online.data.synthetic.exposure import Exposure
from syncvis_online.data.synthetic.layout import draw_layout
from syncvis_online.data.synthetic.level import LevelConfig
from syncvis_online.data.synthetic.lighting import Lighting, SensorNoise, Shake
from syncvis_online.data.synthetic.occluders import place_occluders
from syncvis_online.data.synthetic.population import Population
from syncvis_online.types import Image, Mask

_REFERENCE_HEIGHT = 360
_MIN_AREA = 16.0
_OPAQUE = 127


@dataclass(frozen=True, slots=True)
class GroundTruthObject:
    """One object on one frame.

    `mask` (H, W) bool holds the visible pixels; masks of one frame are disjoint. A pixel belongs to the
    nearest thing that covers more than half of it. `visible_fraction` is the visible area over the area of
    the whole silhouette, what lies beyond the picture's edge counted too. `occluded_fraction` is the share
    of the part inside the picture that other things hide. `height_fraction` is the height of the whole
    silhouette over the picture's height. Objects with the same `appearance` look alike in every detail.
    """

    track_id: int
    label: str
    mask: Mask
    visible_fraction: float
    occluded_fraction: float
    height_fraction: float
    appearance: int


@dataclass(frozen=True, slots=True)
class SyntheticFrame:
    """`image` (H, W, 3) uint8 RGB. `objects`, by track id, are those of which at least 16 pixels can be seen
    on a picture 360 pixels high (in proportion at other sizes, at least 4); empty when masks were not asked
    for."""

    index: int
    time_s: float
    image: Image
    objects: tuple[GroundTruthObject, ...]


class SyntheticWorld:
    """A street seen by one camera. `size` is (height, width); both it and `fps` default to the level's.

    The same (level, seed, fps, size) gives the same bits on every run. What happens does not depend on `size`
    as long as its aspect stays.
    """

    def __init__(
        self, level: LevelConfig, seed: int, *, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> None:
        self._size = size or level.size
        self._fps = fps or level.fps
        height, width = self._size
        rng = np.random.default_rng([seed, 1])
        camera = draw_camera(rng, width / height, (level.shake_px + 2) / _REFERENCE_HEIGHT)
        light = draw_light(rng)
        layout = draw_layout(rng, camera)
        shake_px = level.shake_px * height / _REFERENCE_HEIGHT
        self._pad = math.ceil(shake_px) + 2
        count = int(rng.integers(level.occluders[0], level.occluders[1] + 1))
        occluders = place_occluders(np.random.default_rng([seed, 2]), camera, count, layout.road, height)
        still = paint_background(
            np.random.default_rng([seed, 3]), camera, light, layout, self._size, self._pad
        )
        self._composer = Composer(still, occluders, camera, light, self._pad)
        self._population = Population(level, camera, light, layout, Exposure(camera, occluders), seed)
        self._lighting = Lighting(level, light, seed, self._size)
        self._noise = SensorNoise(level.noise_sigma, seed, self._size)
        self._shake = Shake(shake_px, seed)
        self._index = 0

    @property
    def alive_ids(self) -> frozenset[int]:
        """Who is in the world now: seen, hidden, or just beyond the picture's edge."""
        return frozenset(actor.track_id for actor in self._population.actors)

    def step(self, *, masks: bool = True) -> SyntheticFrame:
        """The next frame. `masks=False` leaves the ground truth out; the picture is the same."""
        index, time_s = self._index, self._index / self._fps
        if index:
            self._population.step(1 / self._fps)
        self._index += 1
        actors = self._population.actors
        picture, owners, layers = self._composer.compose(actors)
        dx, dy = self._shake.at(time_s)
        image = self._noise.apply(self._lighting.apply(self._look_at(picture, dx, dy), time_s))
        objects = self._ground_truth(actors, owners, layers, round(dx), round(dy)) if masks else ()
        return SyntheticFrame(index, time_s, image, objects)

    def _look_at(self, picture: Image, dx: float, dy: float) -> Image:
        """The frame out of the padded picture, moved by a part of a pixel with linear weights."""
        height, width = self._size
        x, y = self._pad - dx, self._pad - dy
        x0, y0 = math.floor(x), math.floor(y)
        rows = picture[y0 : y0 + height + 1]
        across = cv2.addWeighted(
            rows[:, x0 : x0 + width], 1 - (x - x0), rows[:, x0 + 1 : x0 + 1 + width], x - x0, 0
        )
        return np.asarray(cv2.addWeighted(across[:-1], 1 - (y - y0), across[1:], y - y0, 0), np.uint8)

    def _ground_truth(
        self, actors: list[Actor], owners: Alpha, layers: list[Layer], dx: int, dy: int
    ) -> tuple[GroundTruthObject, ...]:
        height, width = self._size
        x0, y0 = self._pad - dx, self._pad - dy
        view = owners[y0 : y0 + height, x0 : x0 + width]
        least = max(4.0, _MIN_AREA * (height / _REFERENCE_HEIGHT) ** 2)
        found = []
        for k, (actor, layer) in enumerate(zip(actors, layers, strict=True), start=1):
            left, top = max(layer.x - x0, 0), max(layer.y - y0, 0)
            right, bottom = layer.x - x0 + layer.rgba.shape[1], layer.y - y0 + layer.rgba.shape[0]
            if right <= 0 or bottom <= 0:
                continue
            part = view[top:bottom, left:right] == k
            visible = int(np.count_nonzero(part))
            if visible < least:
                continue
            mask: Mask = np.zeros(view.shape, np.bool_)
            mask[top:bottom, left:right] = part
            solid = (layer.rgba[..., 3] > _OPAQUE).view(np.uint8)
            shown = solid[
                top + y0 - layer.y : y0 + height - layer.y, left + x0 - layer.x : x0 + width - layer.x
            ]
            found.append(
                GroundTruthObject(
                    track_id=actor.track_id,
                    label=actor.look.label,
                    mask=mask,
                    visible_fraction=visible / int(np.count_nonzero(solid)),
                    occluded_fraction=1 - visible / int(np.count_nonzero(shown)),
                    height_fraction=cv2.boundingRect(solid)[3] / height,
                    appearance=actor.appearance,
                )
            )
        return tuple(sorted(found, key=lambda o: o.track_id))


def render_video(
    level: LevelConfig,
    seed: int,
    frames: int,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[SyntheticFrame]:
    """The first `frames` frames of a world."""
    world = SyntheticWorld(level, seed, fps=fps, size=size)
    for _ in range(frames):
        yield world.step()
