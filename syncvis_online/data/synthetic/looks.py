"""What an actor looks like: the interface of all kinds, and the palettes they share.

A look is drawn from numbers once and never changes; two look-alikes share one look.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Pattern, checks, dots, patches, stripes


class Pose(NamedTuple):
    """`mode` names what the body does, `phase` its step in the cycle, `heading` one of HEADINGS directions.

    Heading 0 goes to the picture's right, a quarter turn on comes to the camera.
    """

    mode: str
    phase: int
    heading: int


HEADINGS = 16
PHASES = 16


class Look(Protocol):
    """`extent` is (left, right, bottom, top) in metres that hold every pose; `heights_m` the least and the
    largest height of a silhouette over all poses; `cycle_m` the way on the ground of one cycle of PHASES."""

    @property
    def label(self) -> str: ...
    @property
    def extent(self) -> tuple[float, float, float, float]: ...
    @property
    def heights_m(self) -> tuple[float, float]: ...
    @property
    def cycle_m(self) -> float: ...
    @property
    def reach_m(self) -> float:
        """Half the width of the widest silhouette."""
        ...

    @property
    def phases(self) -> int:
        """How many different steps of the cycle are drawn; divides PHASES."""
        ...

    def paint(self, canvas: Canvas, pose: Pose) -> None: ...


CLOTH: tuple[Colour, ...] = (
    (186, 52, 48), (222, 118, 52), (232, 188, 72), (96, 142, 78), (44, 112, 96), (62, 128, 178),
    (42, 66, 122), (104, 76, 142), (196, 104, 142), (236, 232, 222), (176, 178, 180), (92, 96, 104),
    (42, 44, 50), (140, 100, 70), (206, 178, 142), (128, 44, 62), (120, 172, 180), (216, 152, 136),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (52, 68, 104), (74, 94, 132), (36, 38, 46), (88, 88, 92), (128, 112, 88), (168, 150, 120),
    (72, 62, 54), (58, 74, 62), (196, 190, 178),
)  # fmt: skip
SKIN: tuple[Colour, ...] = ((238, 200, 172), (222, 176, 142), (196, 144, 108), (150, 102, 72), (108, 72, 50))
HAIR: tuple[Colour, ...] = (
    (32, 26, 24),
    (66, 44, 30),
    (112, 74, 44),
    (190, 150, 92),
    (150, 146, 142),
    (126, 58, 34),
)
PAINT: tuple[Colour, ...] = (
    (196, 38, 40), (38, 84, 158), (232, 232, 228), (168, 172, 178), (58, 62, 68), (30, 32, 38),
    (54, 110, 86), (216, 164, 52), (120, 40, 56), (112, 158, 190), (204, 110, 52), (184, 172, 148),
)  # fmt: skip


def pick(rng: np.random.Generator, palette: tuple[Colour, ...], spread: float = 10.0) -> Colour:
    """A colour of the palette, moved a little."""
    r, g, b = np.clip(
        np.asarray(palette[int(rng.integers(len(palette)))]) + rng.normal(0, spread, 3), 4, 250
    ).tolist()
    return (r, g, b)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def shaded(colour: Colour, factor: float) -> Colour:
    return (min(255.0, colour[0] * factor), min(255.0, colour[1] * factor), min(255.0, colour[2] * factor))


def cloth_pattern(rng: np.random.Generator) -> Pattern | None:
    kind = int(rng.integers(9))
    size = float(rng.uniform(0.07, 0.13))
    if kind <= 3:
        return None
    return (
        stripes(size, False),
        stripes(size, True),
        checks(size),
        dots(size),
        patches(0.5, int(rng.integers(400))),
    )[kind - 4]
