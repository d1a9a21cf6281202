"""Bicycles from the side: frame, spoked wheels that turn, bars; the rider is an actor of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.body import CRANK, CRANK_RADIUS_M, HANDLE, SADDLE_M
from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Point, oval
from syncvis_online.data.synthetic.looks import CLOTH, PAINT, PHASES, Pose, pick, shaded

_RADIUS = 0.345
_SPOKES = 10


@dataclass(frozen=True, slots=True)
class BicycleLook:
    """A bicycle that rolls to the right; one cycle of phases is one turn of the cranks."""

    frame: Colour
    tyre: Colour
    saddle: Colour
    basket: Colour | None
    mudguards: bool
    step_through: bool
    label: str = "bicycle"
    phases: int = 16

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return (-1.0, 1.05, -0.05, 1.3)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (1.0, 1.22)

    @property
    def reach_m(self) -> float:
        return 0.92

    @property
    def cycle_m(self) -> float:
        return 3.6

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        rear, front = (-0.52, _RADIUS), (0.56, _RADIUS)
        crank, saddle = (CRANK[0], CRANK[2]), (-0.16, SADDLE_M - 0.06)
        head, bar = (0.40, 0.82), (0.36, 1.0)
        for hub in (rear, front):
            self._paint_wheel(canvas, hub, pose.phase)
        steel = shaded(self.frame, 0.75)
        canvas.limb(rear, crank, 0.022, 0.026, steel)
        canvas.limb(rear, (saddle[0] + 0.03, 0.78), 0.018, 0.02, steel)
        canvas.limb(crank, saddle, 0.03, 0.024, self.frame)
        low = (head[0] + 0.02, head[1] - 0.12)
        canvas.limb(crank, low, 0.034, 0.034, self.frame)
        if not self.step_through:
            canvas.limb((saddle[0] + 0.06, 0.80), head, 0.03, 0.03, self.frame)
        canvas.limb(front, (head[0] + 0.03, head[1] - 0.16), 0.02, 0.028, steel)
        canvas.limb((head[0] + 0.03, head[1] - 0.14), bar, 0.03, 0.024, self.frame)
        canvas.limb(bar, (HANDLE[0], HANDLE[2]), 0.024, 0.022, (62, 62, 66))
        canvas.limb(
            (saddle[0] - 0.13, SADDLE_M - 0.03),
            (saddle[0] + 0.13, SADDLE_M - 0.05),
            0.045,
            0.022,
            self.saddle,
        )
        self._paint_cranks(canvas, crank, pose.phase)
        if self.mudguards:
            self._paint_mudguard(canvas, rear)
        if self.basket is not None:
            canvas.fill(
                [(0.44, 0.78), (0.74, 0.78), (0.80, 1.02), (0.42, 1.02)], self.basket, grain=0.14, shade=0.25
            )

    def _paint_wheel(self, canvas: Canvas, hub: Point, phase: int) -> None:
        """A ring: the outline runs round the outside and back round the inside, so the wheel stays open."""
        outer = oval(hub, _RADIUS, _RADIUS, n=36)
        inner = oval(hub, _RADIUS - 0.05, _RADIUS - 0.05, n=36)
        canvas.fill([*outer, outer[0], inner[0], *reversed(inner)], self.tyre, shade=0.25)
        turn = -2 * math.pi * phase / PHASES
        for k in range(_SPOKES):
            t = turn + 2 * math.pi * k / _SPOKES
            tip = (hub[0] + (_RADIUS - 0.04) * math.cos(t), hub[1] + (_RADIUS - 0.04) * math.sin(t))
            canvas.limb(hub, tip, 0.008, 0.006, (176, 178, 182), alpha=0.6)
        canvas.fill(oval(hub, 0.045, 0.045, n=12), (120, 122, 126))

    def _paint_cranks(self, canvas: Canvas, crank: Point, phase: int) -> None:
        canvas.fill(oval(crank, 0.1, 0.1, n=16), (92, 94, 98))
        for half in (0.0, math.pi):
            t = -2 * math.pi * phase / PHASES + half
            pedal = (crank[0] + CRANK_RADIUS_M * math.cos(t), crank[1] + CRANK_RADIUS_M * math.sin(t))
            canvas.limb(crank, pedal, 0.02, 0.016, (70, 72, 76))
            canvas.limb((pedal[0] - 0.06, pedal[1]), (pedal[0] + 0.06, pedal[1]), 0.02, 0.02, (40, 40, 42))

    def _paint_mudguard(self, canvas: Canvas, hub: Point) -> None:
        r = _RADIUS + 0.03
        arc = [(hub[0] + r * math.cos(t), hub[1] + r * math.sin(t)) for t in np.linspace(0.5, 3.0, 12)]
        back = [
            (hub[0] + (r + 0.035) * math.cos(t), hub[1] + (r + 0.035) * math.sin(t))
            for t in np.linspace(3.0, 0.5, 12)
        ]
        canvas.fill(arc + back, shaded(self.frame, 0.9))


def draw_bicycle(rng: np.random.Generator) -> BicycleLook:
    return BicycleLook(
        frame=pick(rng, PAINT),
        tyre=pick(rng, ((38, 38, 40), (60, 54, 48), (150, 116, 80))),
        saddle=pick(rng, ((40, 36, 34), (122, 74, 44))),
        basket=pick(rng, CLOTH) if rng.random() < 0.4 else None,
        mudguards=bool(rng.random() < 0.5),
        step_through=bool(rng.random() < 0.35),
    )
