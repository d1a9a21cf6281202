"""Dogs that trot and birds that fly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from syncvis_online.data.synthetic.camera import Colour
from syncvis_online.data.synthetic.canvas import Canvas, Pattern, Point, oval, patches, smooth
from syncvis_online.data.synthetic.looks import PHASES, Pose, mix, pick, shaded

_COATS: tuple[Colour, ...] = (
    (60, 44, 36),
    (150, 104, 62),
    (206, 170, 118),
    (226, 220, 208),
    (42, 40, 42),
    (128, 120, 116),
    (172, 92, 48),
)
_PLUMAGE: tuple[Colour, ...] = (
    (232, 232, 228),
    (110, 116, 128),
    (52, 52, 60),
    (150, 118, 86),
    (92, 108, 140),
    (176, 148, 110),
)


@dataclass(frozen=True, slots=True)
class DogLook:
    """A dog that looks to the right; `size_m` is its height at the shoulder."""

    size_m: float
    length: float
    leg: float
    coat: Colour
    second: Colour
    pattern: Pattern | None
    ears_up: bool
    tail_up: bool
    collar: Colour | None
    label: str = "dog"
    phases: int = 16

    @property
    def extent(self) -> tuple[float, float, float, float]:
        s = self.size_m
        return (-1.35 * s, 1.45 * s, -0.1 * s, 1.75 * s)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (1.2 * self.size_m, 1.68 * self.size_m)

    @property
    def reach_m(self) -> float:
        return 1.25 * self.size_m

    @property
    def cycle_m(self) -> float:
        return 1.5 * self.size_m

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        s, phase = self.size_m, 2 * math.pi * pose.phase / PHASES
        trot = pose.mode == "walk"
        bob = 0.025 * s * math.sin(2 * phase) if trot else 0.0
        half = 0.5 * self.length * s
        back = self.leg * s + bob
        rear, front = (-half, back + 0.02 * s), (half, back)
        for k, (hip, shift) in enumerate(((rear, math.pi), (front, 0.0))):
            self._paint_leg(canvas, hip, phase + shift, trot, 0.72, rear=k == 0)
        self._paint_tail(canvas, (rear[0] - 0.12 * s, rear[1] + 0.2 * s), phase)
        body = self._body(rear, front)
        canvas.fill(body, self.coat, shade=0.26, pattern=self.pattern, second=self.second, grain=0.1)
        for k, (hip, shift) in enumerate(((rear, 0.0), (front, math.pi))):
            self._paint_leg(canvas, hip, phase + shift, trot, 1.0, rear=k == 0)
        self._paint_head(canvas, (front[0] + 0.1 * s, front[1] + 0.24 * s + bob))

    def _body(self, rear: Point, front: Point) -> list[Point]:
        s = self.size_m
        return [
            *_arc(rear, 0.23 * s, 0.24 * s, 90, 250),
            (0.0, min(rear[1], front[1]) - 0.08 * s),
            *_arc(front, 0.26 * s, 0.27 * s, -100, 90),
            (0.0, rear[1] + 0.22 * s),
        ]

    def _paint_leg(
        self, canvas: Canvas, hip: Point, psi: float, trot: bool, shade: float, *, rear: bool
    ) -> None:
        s = self.size_m
        coat = shaded(mix(self.coat, self.second, 0.25), shade)
        swing = 0.55 * math.sin(psi) if trot else 0.04
        flex = 0.7 * max(0.0, math.cos(psi)) if trot else 0.0
        bend = -0.35 if rear else 0.2
        length = hip[1]
        knee = (
            hip[0] + 0.5 * length * math.sin(swing - bend),
            hip[1] - 0.5 * length * math.cos(swing - bend),
        )
        lower = swing + bend - flex
        paw = (
            knee[0] + 0.5 * length * math.sin(lower),
            max(0.03 * s, knee[1] - 0.5 * length * math.cos(lower)),
        )
        canvas.limb(knee, paw, 0.068 * s, 0.045 * s, coat, grain=0.08)
        canvas.limb(hip, knee, 0.15 * s if rear else 0.115 * s, 0.07 * s, coat, grain=0.08)
        canvas.limb(
            paw, (paw[0] + 0.07 * s, paw[1] - 0.005 * s), 0.05 * s, 0.04 * s, shaded(self.second, shade)
        )

    def _paint_tail(self, canvas: Canvas, root: Point, phase: float) -> None:
        s = self.size_m
        wag = 0.25 * math.sin(2 * phase)
        angle = (2.2 if self.tail_up else 3.4) + wag
        mid = (root[0] + 0.24 * s * math.cos(angle), root[1] + 0.24 * s * math.sin(angle))
        angle -= 0.7
        tip = (mid[0] + 0.22 * s * math.cos(angle), mid[1] + 0.22 * s * math.sin(angle))
        canvas.limb(root, mid, 0.07 * s, 0.055 * s, self.coat, grain=0.1)
        canvas.limb(mid, tip, 0.055 * s, 0.025 * s, self.coat, grain=0.1)

    def _paint_head(self, canvas: Canvas, neck: Point) -> None:
        s = self.size_m
        head = (neck[0] + 0.3 * s, neck[1] + 0.26 * s)
        canvas.limb((neck[0] - 0.12 * s, neck[1] - 0.12 * s), head, 0.2 * s, 0.13 * s, self.coat, grain=0.1)
        if self.collar is not None:
            mid = (neck[0] + 0.13 * s, neck[1] + 0.11 * s)
            canvas.limb(
                (mid[0] - 0.1 * s, mid[1] + 0.1 * s),
                (mid[0] + 0.1 * s, mid[1] - 0.1 * s),
                0.035 * s,
                0.035 * s,
                self.collar,
            )
        canvas.limb(
            head,
            (head[0] + 0.26 * s, head[1] - 0.07 * s),
            0.11 * s,
            0.065 * s,
            mix(self.coat, self.second, 0.5),
        )
        canvas.fill(oval(head, 0.18 * s, 0.165 * s), self.coat, shade=0.25, grain=0.08)
        canvas.fill(oval((head[0] + 0.32 * s, head[1] - 0.05 * s), 0.035 * s, 0.035 * s, n=10), (24, 22, 24))
        canvas.fill(oval((head[0] + 0.09 * s, head[1] + 0.04 * s), 0.022 * s, 0.025 * s, n=8), (20, 18, 18))
        ear = shaded(self.coat, 0.7)
        if self.ears_up:
            canvas.fill(
                [
                    (head[0] - 0.12 * s, head[1] + 0.08 * s),
                    (head[0] - 0.07 * s, head[1] + 0.3 * s),
                    (head[0] + 0.04 * s, head[1] + 0.12 * s),
                ],
                ear,
            )
        else:
            canvas.limb(
                (head[0] - 0.08 * s, head[1] + 0.1 * s),
                (head[0] - 0.14 * s, head[1] - 0.12 * s),
                0.06 * s,
                0.08 * s,
                ear,
            )


@dataclass(frozen=True, slots=True)
class BirdLook:
    """A bird in flight towards the right; `span_m` is its half span, drawn larger than life to be seen."""

    span_m: float
    body: Colour
    wing: Colour
    tip: Colour
    beak: Colour
    label: str = "bird"
    phases: int = 16

    @property
    def extent(self) -> tuple[float, float, float, float]:
        s = self.span_m
        return (-1.2 * s, 1.2 * s, -1.3 * s, 1.3 * s)

    @property
    def heights_m(self) -> tuple[float, float]:
        return (0.42 * self.span_m, 1.5 * self.span_m)

    @property
    def reach_m(self) -> float:
        return self.span_m

    @property
    def cycle_m(self) -> float:
        return 3.2 * self.span_m

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        s = self.span_m
        beat = math.sin(2 * math.pi * pose.phase / PHASES)
        bob = -0.06 * s * beat
        self._paint_wing(canvas, beat * 0.92, bob, 0.74)
        tail = [
            (-0.42 * s, bob + 0.03 * s),
            (-0.88 * s, bob + 0.13 * s),
            (-0.92 * s, bob - 0.05 * s),
            (-0.42 * s, bob - 0.09 * s),
        ]
        canvas.fill(tail, shaded(self.wing, 0.85), shade=0.2, grain=0.08)
        canvas.fill(oval((0.0, bob), 0.52 * s, 0.19 * s, 0.06), self.body, shade=0.3, grain=0.06)
        canvas.fill(oval((0.5 * s, bob + 0.1 * s), 0.17 * s, 0.15 * s), self.body, shade=0.25)
        canvas.fill(
            [(0.62 * s, bob + 0.15 * s), (0.86 * s, bob + 0.07 * s), (0.62 * s, bob + 0.03 * s)], self.beak
        )
        canvas.fill(oval((0.56 * s, bob + 0.13 * s), 0.025 * s, 0.03 * s, n=8), (16, 16, 18))
        self._paint_wing(canvas, beat, bob, 1.0)

    def _paint_wing(self, canvas: Canvas, beat: float, bob: float, shade: float) -> None:
        """The near wing hangs a little lower than the far one: neither vanishes as it passes the middle."""
        s = self.span_m
        rise, depth = 0.95 * s * beat, (-0.16 if shade == 1.0 else 0.16) * s
        wrist = (0.2 * s, bob + 0.5 * rise + 0.7 * depth)
        tip = (-0.38 * s, bob + rise + 1.2 * depth)
        edge = (-0.3 * s, bob + 0.42 * rise + 0.5 * depth)
        root = [(0.26 * s, bob + 0.06 * s), (-0.3 * s, bob - 0.03 * s)]
        wing = smooth([root[0], wrist, (0.0, bob + 0.85 * rise + 1.1 * depth), tip, edge, root[1]])
        canvas.fill(wing, shaded(self.wing, shade), shade=0.2, grain=0.07)
        feathers = [(0.02 * s, bob + 0.68 * rise + depth), (0.0, bob + 0.85 * rise + 1.1 * depth), tip, edge]
        canvas.fill(smooth(feathers), shaded(mix(self.wing, self.tip, 0.75), shade), shade=0.15, grain=0.07)


def draw_dog(rng: np.random.Generator) -> DogLook:
    coat = pick(rng, _COATS, 8)
    spotted = rng.random() < 0.45
    return DogLook(
        size_m=float(rng.uniform(0.42, 0.68)),
        length=float(rng.uniform(0.85, 1.15)),
        leg=float(rng.uniform(0.55, 0.78)),
        coat=coat,
        second=pick(rng, _COATS, 8) if spotted else shaded(coat, 0.9),
        pattern=patches(0.45, int(rng.integers(400))) if spotted else None,
        ears_up=bool(rng.random() < 0.5),
        tail_up=bool(rng.random() < 0.6),
        collar=pick(rng, ((188, 40, 44), (44, 90, 170), (232, 190, 60))) if rng.random() < 0.6 else None,
    )


def draw_bird(rng: np.random.Generator) -> BirdLook:
    wing = pick(rng, _PLUMAGE, 8)
    return BirdLook(
        span_m=float(rng.uniform(0.5, 0.75)),
        body=mix(wing, pick(rng, _PLUMAGE, 8), 0.4),
        wing=wing,
        tip=pick(rng, _PLUMAGE, 8),
        beak=pick(rng, ((228, 170, 52), (52, 46, 44), (208, 96, 48))),
    )


def _arc(centre: Point, rx: float, ry: float, start_deg: float, stop_deg: float) -> list[Point]:
    angles = np.radians(np.linspace(start_deg, stop_deg, 10)).tolist()
    return [(centre[0] + rx * math.cos(t), centre[1] + ry * math.sin(t)) for t in angles]
