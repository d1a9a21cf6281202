"""How a street is laid out in depth: pavement, road, far side, backdrop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Camera


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
