"""The pin-hole camera over a flat ground, and the light of a scene.

Owns the geometry between metres on the ground and the picture, and what the hour and the weather look like.
Lengths in the picture are in picture heights (1.0 = the frame's height), so a world is free of resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue, each in 0..255."""


@dataclass(frozen=True, slots=True)
class Camera:
    """`horizon`, `focal` and the largest `shake` in picture heights, `height_m` above the ground, `aspect` =
    width / height."""

    horizon: float
    height_m: float
    focal: float
    aspect: float
    shake: float

    def scale(self, z_m: float) -> float:
        """Picture heights a metre at the distance `z_m`."""
        return self.focal / z_m

    def ground_y(self, z_m: float) -> float:
        """Where the ground at the distance `z_m` is in the picture (0 = top edge, 1 = bottom edge)."""
        return self.horizon + self.focal * self.height_m / z_m

    def depth_of_ground(self, y: float) -> float:
        """The distance in metres of the ground seen at `y`, which must lie below the horizon."""
        return self.focal * self.height_m / (y - self.horizon)

    def screen_x(self, x_m: float, z_m: float) -> float:
        return self.aspect / 2 + x_m * self.focal / z_m

    def shake_m(self, z_m: float) -> float:
        """How far the edge of the picture moves on the ground, at most."""
        return self.shake * z_m / self.focal

    def half_width_m(self, z_m: float) -> float:
        """Half the width of the ground that the picture shows at the distance `z_m`."""
        return self.aspect / 2 * z_m / self.focal


@dataclass(frozen=True, slots=True)
class Light:
    """Hour and weather.

    `gain` multiplies the picture; `shadow_strength` in [0, 1]; a point `u` metres above the ground casts its
    shadow at (`shadow_x` * u, `shadow_y` * u) metres right and down in the picture; `haze_m` is the distance
    at which the air has taken 63 % of a colour.
    """

    name: str
    gain: Colour
    sky_top: Colour
    sky_low: Colour
    haze: Colour
    haze_m: float
    shadow_strength: float
    shadow_x: float
    shadow_y: float
    lit_windows: float


_LIGHTS = {
    "day": ((1.15, 1.15, 1.13), (92, 148, 214), (196, 218, 236), (196, 212, 226), 150.0, 0.45, 0.03),
    "golden": ((1.18, 1.09, 0.94), (112, 148, 196), (250, 214, 164), (240, 208, 168), 120.0, 0.5, 0.1),
    "overcast": ((1.04, 1.06, 1.09), (158, 168, 178), (206, 210, 214), (198, 204, 210), 100.0, 0.2, 0.12),
    "dusk": ((0.97, 0.88, 0.96), (104, 104, 158), (244, 166, 132), (182, 140, 150), 110.0, 0.25, 0.45),
    "night": ((0.74, 0.77, 0.92), (34, 42, 82), (86, 92, 136), (84, 90, 126), 110.0, 0.3, 0.6),
}
_LIGHT_SHARES = (0.36, 0.2, 0.2, 0.14, 0.10)


def draw_camera(rng: np.random.Generator, aspect: float, shake: float) -> Camera:
    """A camera on a mast, a balcony or a tripod, level with a horizon in the upper part of the picture."""
    return Camera(
        horizon=float(rng.uniform(0.24, 0.40)),
        height_m=float(rng.uniform(2.0, 3.6)),
        focal=float(rng.uniform(1.1, 1.5)),
        aspect=aspect,
        shake=shake,
    )


def draw_light(rng: np.random.Generator) -> Light:
    name = list(_LIGHTS)[int(rng.choice(len(_LIGHTS), p=_LIGHT_SHARES))]
    gain, top, low, haze, haze_m, strength, lit = _LIGHTS[name]
    tint = rng.uniform(0.96, 1.04, 3)
    low_sun = 1.6 if name in ("golden", "dusk") else 1.0
    side = 1.0 if rng.random() < 0.5 else -1.0
    return Light(
        name=name,
        gain=(gain[0] * tint[0], gain[1] * tint[1], gain[2] * tint[2]),
        sky_top=_vary(rng, top),
        sky_low=_vary(rng, low),
        haze=_vary(rng, haze),
        haze_m=haze_m * float(rng.uniform(0.7, 1.3)),
        shadow_strength=strength * float(rng.uniform(0.8, 1.2)),
        shadow_x=side * float(rng.uniform(0.3, 0.75)) * low_sun,
        shadow_y=float(rng.uniform(0.14, 0.3)) * (1.0 if rng.random() < 0.6 else -1.0),
        lit_windows=lit,
    )


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    r, g, b = np.clip(np.asarray(colour) + rng.normal(0, 7, 3), 0, 255).tolist()
    return (r, g, b)
