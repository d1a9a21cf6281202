"""Sprites: every class is drawn in every pose inside its canvas, and the cache keeps its bound."""

from __future__ import annotations

import numpy as np
import pytest

from syncvis_online.data.synthetic.actors import Actor
from syncvis_online.data.synthetic.animals import draw_bird, draw_dog
from syncvis_online.data.synthetic.bicycle import draw_bicycle
from syncvis_online.data.synthetic.canvas import Canvas, Sprite
from syncvis_online.data.synthetic.car import draw_car
from syncvis_online.data.synthetic.looks import HEADINGS, PHASES, Look, Pose
from syncvis_online.data.synthetic.person import draw_person
from syncvis_online.data.synthetic.sprites import SpriteCache
from syncvis_online.data.synthetic.truck import draw_truck

LOOKS = {
    "person": draw_person,
    "bicycle": draw_bicycle,
    "car": lambda rng: draw_car(rng, lights_on=True),
    "truck": draw_truck,
    "dog": draw_dog,
    "bird": draw_bird,
}


def render(look: Look, pose: Pose, px_per_m: float = 50.0) -> Sprite:
    canvas = Canvas(look.extent, px_per_m)
    look.paint(canvas, pose)
    return canvas.finish()


@pytest.mark.parametrize("label", list(LOOKS))
def test_every_pose_fits_its_canvas_and_its_heights(label: str) -> None:
    for seed in range(6):
        look: Look = LOOKS[label](np.random.default_rng(seed))
        assert look.label == label
        headings = range(0, HEADINGS, 3) if label == "person" else (0,)
        for heading in headings:
            for phase in range(0, PHASES, 3):
                solid = render(look, Pose("walk", phase, heading)).alpha > 127
                rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
                assert not solid[[0, -1]].any()
                assert not solid[:, [0, -1]].any()
                height_m = (rows[-1] + 1 - rows[0]) / 50
                assert 0.97 * look.heights_m[0] <= height_m <= 1.03 * look.heights_m[1]
                assert (columns[-1] + 1 - columns[0]) / 50 <= 2 * look.reach_m + 0.1


def test_colour_is_premultiplied() -> None:
    rgba = render(draw_person(np.random.default_rng(1)), Pose("walk", 3, 0)).rgba
    assert (rgba[..., :3] <= rgba[..., 3:]).all()


def test_legs_swing_and_wheels_turn() -> None:
    for label, phase in (("person", 8), ("car", 8), ("dog", 8), ("bird", 8), ("bicycle", 3)):
        look: Look = LOOKS[label](np.random.default_rng(2))
        first, later = render(look, Pose("walk", 4, 0)), render(look, Pose("walk", 4 + phase, 0))
        same_outline = first.rgba.shape == later.rgba.shape
        assert not same_outline or np.abs(first.rgba.astype(int) - later.rgba).max() > 30


def test_the_cache_keeps_its_bound_and_its_sprites() -> None:
    rng = np.random.default_rng(3)
    look = draw_dog(rng)
    actor = Actor(1, 1, look, rng, 0.0, 8.0, (5.0, 20.0), 1.0, 0.0)
    cache = SpriteCache(limit_bytes=400_000)
    again = cache.get(actor, 30.0)
    assert cache.get(actor, 30.0) is again
    assert 30.0 <= again.px_per_m <= 30.0 * 1.42
    for step in range(120):
        actor.way_m += 0.07
        cache.get(actor, 20.0 + step / 2)
        assert cache.nbytes <= 400_000
    assert 1 < len(cache) < 100
    assert cache.get(actor, 30.0) is not again
