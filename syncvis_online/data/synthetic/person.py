"""People: proportions and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.body import Body
from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Pattern
from syncvis_online.data.synthetic.looks import (
    CLOTH,
    HAIR,
    SKIN,
    TROUSERS,
    Pose,
    cloth_pattern,
    mix,
    pick,
)


@dataclass(frozen=True, slots=True)
class PersonLook:
    """One person's body and clothes. `height_m` is the standing height without a hat."""

    height_m: float
    build: float
    skin: Colour
    hair: Colour
    top: Colour
    top_second: Colour
    top_pattern: Pattern | None
    bottom: Colour
    shoes: Colour
    bag: Colour | None
    hat: Colour | None
    long_hair: bool
    long_sleeves: bool
    skirt: bool
    shorts: bool
    coat: bool

    label: str = "person"
    phases: int = 16

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-0.75, 0.95, -0.12, self.height_m + 0.35)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (0.86 * self.height_m, 1.12 * self.height_m)

    @property
    def reach_m(self) -> float:
        return 0.38 * self.height_m

    @property
    def cycle_m(self) -> float:
        return 0.82 * self.height_m

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        Body(self, canvas, pose).paint()


def draw_person(rng: np.random.Generator) -> PersonLook:
    child = rng.random() < 0.12
    top = pick(rng, CLOTH)
    skirt = bool(rng.random() < 0.2)
    return PersonLook(
        height_m=float(rng.uniform(1.2, 1.45) if child else rng.uniform(1.58, 1.92)),
        build=float(rng.uniform(0.88, 1.28)),
        skin=pick(rng, SKIN, 6),
        hair=pick(rng, HAIR, 6),
        top=top,
        top_second=mix(pick(rng, CLOTH), top, 0.25),
        top_pattern=cloth_pattern(rng),
        bottom=pick(rng, CLOTH if skirt else TROUSERS),
        shoes=pick(rng, ((38, 34, 34), (232, 230, 226), (120, 76, 48), (150, 46, 48))),
        bag=pick(rng, CLOTH) if rng.random() < 0.35 else None,
        hat=pick(rng, CLOTH) if rng.random() < 0.2 else None,
        long_hair=bool(rng.random() < 0.4),
        long_sleeves=bool(rng.random() < 0.6),
        skirt=skirt,
        shorts=bool(rng.random() < 0.2),
        coat=bool(rng.random() < 0.2),
    )
