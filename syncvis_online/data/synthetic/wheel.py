"""The wheel that cars and trucks share, and the colour of their glass."""

from __future__ import annotations

import math

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Point, oval
from syncvis_online.data.synthetic.looks import PHASES, shaded

GLASS: Colour = (74, 96, 112)
TYRE: Colour = (34, 34, 36)
SPOKES = 5


def paint_wheel(canvas: Canvas, hub: Point, radius: float, phase: int, rim: Colour, *, arch: bool) -> None:
    """A tyre with a rim of five spokes; `phase` of PHASES turns it by one spoke."""
    if arch:
        canvas.fill(oval((hub[0], hub[1] + 0.02), radius * 1.16, radius * 1.16), (24, 24, 26))
    canvas.fill(oval(hub, radius, radius, n=32), TYRE, shade=0.3)
    canvas.fill(oval(hub, radius * 0.66, radius * 0.66), shaded(rim, 0.45))
    for k in range(SPOKES):
        turn = -2 * math.pi * (k + phase / PHASES) / SPOKES
        tip = (hub[0] + 0.58 * radius * math.cos(turn), hub[1] + 0.58 * radius * math.sin(turn))
        canvas.limb(hub, tip, 0.1 * radius, 0.13 * radius, rim)
    canvas.fill(oval(hub, radius * 0.18, radius * 0.18, n=12), shaded(rim, 0.8))
