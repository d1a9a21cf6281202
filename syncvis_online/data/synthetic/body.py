"""The jointed body of a person in three dimensions, from the side, the front or the back.

Owns the poses: walking, standing, riding a bicycle. Clothes and proportions come from the person's look.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from syncvis_online.data.synthetic.canvas import Canvas, Point, oval
from syncvis_online.data.synthetic.looks import (
    HEADINGS,
    PHASES,
    Pose,
    shaded,
)

if TYPE_CHECKING:
    from syncvis_online.data.synthetic.person import PersonLook

Joint = tuple[float, float, float]
"""Metres (forward, to the person's right, up)."""

SADDLE_M = 0.96
CRANK: Joint = (0.10, 0.0, 0.30)
CRANK_RADIUS_M = 0.17
HANDLE: Joint = (0.52, 0.0, 1.02)


class Body:
    """One pose of one person on its way to the canvas."""

    def __init__(self, look: PersonLook, canvas: Canvas, pose: Pose) -> None:
        self.look, self.canvas, self.pose = look, canvas, pose
        self.turn = 2 * math.pi * pose.heading / HEADINGS
        self.cos, self.sin = math.cos(self.turn), math.sin(self.turn)
        self.h = look.height_m
        self.phase = 2 * math.pi * pose.phase / PHASES
        self.lean = 0.42 if pose.mode == "ride" else 0.05
        self.legs = [self._leg(side) for side in (-1, 1)]
        self.hip_u = self._place_hips()

    def at(self, joint: Joint) -> Point:
        """The joint in the plane of the picture."""
        return (joint[0] * self.cos - joint[1] * self.sin, joint[2])

    def nearness(self, joint: Joint) -> float:
        return joint[0] * self.sin + joint[1] * self.cos

    def _leg(self, side: int) -> list[Joint]:
        """Hip, knee, ankle and toe with the hip at height 0."""
        h, lateral = self.h, side * 0.055 * self.h
        if self.pose.mode == "ride":
            return self._pedalling_leg(side, lateral)
        psi = self.phase + (math.pi if side < 0 else 0.0)
        swing = 0.46 * math.sin(psi) if self.pose.mode == "walk" else 0.03 * side
        flex = 0.10 + 0.85 * max(0.0, math.cos(psi)) ** 1.3 if self.pose.mode == "walk" else 0.04
        knee = (0.245 * h * math.sin(swing), lateral, -0.245 * h * math.cos(swing))
        shin = swing - flex
        ankle = (knee[0] + 0.235 * h * math.sin(shin), lateral, knee[2] - 0.235 * h * math.cos(shin))
        foot = shin + 0.12
        toe = (
            ankle[0] + 0.12 * h * math.cos(foot),
            lateral,
            ankle[2] + 0.12 * h * math.sin(foot) - 0.012 * h,
        )
        return [(0.0, lateral, 0.0), knee, ankle, toe]

    def _pedalling_leg(self, side: int, lateral: float) -> list[Joint]:
        psi = -self.phase + (math.pi if side < 0 else 0.0)
        hip = (-0.14, lateral, SADDLE_M)
        pedal = (CRANK[0] + CRANK_RADIUS_M * math.cos(psi), CRANK[2] + CRANK_RADIUS_M * math.sin(psi) + 0.06)
        knee = _bend((hip[0], hip[2]), pedal, 0.262 * self.h, 0.255 * self.h, 1.0)
        base = SADDLE_M
        return [
            (hip[0], lateral, 0.0),
            (knee[0], lateral, knee[1] - base),
            (pedal[0] - 0.05, lateral, pedal[1] - base),
            (pedal[0] + 0.11, lateral, pedal[1] - base - 0.02),
        ]

    def _place_hips(self) -> float:
        if self.pose.mode == "ride":
            return SADDLE_M
        lowest = min(joint[2] for leg in self.legs for joint in leg[2:])
        return -lowest + 0.012 * self.h

    def _lift(self, joint: Joint) -> Joint:
        return (joint[0], joint[1], joint[2] + self.hip_u)

    def paint(self) -> None:
        order = sorted(
            (0, 1), key=lambda i: self.nearness(self.legs[i][0]) + 0.3 * self.nearness(self.legs[i][1])
        )
        arms = [self._arm(side) for side in (-1, 1)]
        arm_order = sorted((0, 1), key=lambda i: self.nearness(arms[i][0]) + self.nearness(arms[i][2]))
        back_to_us = self.sin < -0.35
        self._paint_arm(arms[arm_order[0]], 0.82)
        if self.look.bag is not None and not back_to_us:
            self._paint_bag()
        for depth, i in enumerate(order):
            self._paint_leg(self.legs[i], 0.82 if depth == 0 else 1.0)
        self._paint_torso()
        if self.look.bag is not None and back_to_us:
            self._paint_bag()
        self._paint_head()
        self._paint_arm(arms[arm_order[1]], 1.0)

    def _paint_leg(self, leg: list[Joint], shade: float) -> None:
        look, h, b = self.look, self.h, self.look.build
        hip, knee, ankle, toe = (self.at(self._lift(j)) for j in leg)
        bare = look.skirt or look.shorts
        shin = shaded(look.skin if bare else look.bottom, shade)
        self.canvas.limb(knee, ankle, 0.036 * h * b, 0.024 * h * b, shin)
        self.canvas.limb(hip, knee, 0.052 * h * b, 0.038 * h * b, shaded(look.bottom, shade))
        self.canvas.limb((ankle[0], ankle[1]), toe, 0.026 * h, 0.017 * h, shaded(look.shoes, shade))

    def _shoulder(self) -> float:
        return 0.29 * self.h

    def _arm(self, side: int) -> list[Joint]:
        """Shoulder, elbow, hand above the ground."""
        h = self.h
        length = self._shoulder() - 0.028 * h
        up, forward = length * math.cos(self.lean), length * math.sin(self.lean)
        hip_f = -0.14 if self.pose.mode == "ride" else 0.0
        shoulder = (hip_f + forward, side * 0.115 * h * self.look.build**0.5, self.hip_u + up)
        if self.pose.mode == "ride":
            hand = (HANDLE[0], HANDLE[2])
            elbow = _bend((shoulder[0], shoulder[2]), hand, 0.165 * h, 0.165 * h, -1.0)
            return [shoulder, (elbow[0], shoulder[1], elbow[1]), (hand[0], shoulder[1] * 0.8, hand[1])]
        psi = self.phase + (0.0 if side < 0 else math.pi)
        walking = self.pose.mode == "walk"
        swing = 0.42 * math.sin(psi) if walking else 0.05
        bend = 0.35 + 0.2 * max(0.0, math.sin(psi)) if walking else 0.15
        elbow3 = (
            shoulder[0] + 0.165 * h * math.sin(swing),
            shoulder[1] + side * 0.02 * h,
            shoulder[2] - 0.165 * h * math.cos(swing),
        )
        hand3 = (
            elbow3[0] + 0.155 * h * math.sin(swing + bend),
            elbow3[1],
            elbow3[2] - 0.155 * h * math.cos(swing + bend),
        )
        return [shoulder, elbow3, hand3]

    def _paint_arm(self, arm: list[Joint], shade: float) -> None:
        look, h, b = self.look, self.h, self.look.build**0.5
        shoulder, elbow, hand = (self.at(j) for j in arm)
        sleeve = shaded(look.top, shade * 0.94)
        lower = sleeve if look.long_sleeves or look.coat else shaded(look.skin, shade)
        self.canvas.fill(oval(hand, 0.024 * h, 0.026 * h), shaded(look.skin, shade))
        self.canvas.limb(elbow, hand, 0.027 * h * b, 0.02 * h * b, lower)
        self.canvas.limb(shoulder, elbow, 0.036 * h * b, 0.029 * h * b, sleeve)

    def _spine(self) -> tuple[Joint, Joint]:
        hip_f = -0.14 if self.pose.mode == "ride" else 0.0
        length = self._shoulder() + 0.02 * self.h
        top = (hip_f + length * math.sin(self.lean), 0.0, self.hip_u + length * math.cos(self.lean))
        return (hip_f, 0.0, self.hip_u), top

    def _half_width(self, across: float, deep: float) -> float:
        return math.hypot(across * self.sin, deep * self.cos) * self.h * self.look.build

    def _paint_torso(self) -> None:
        look, h = self.look, self.h
        low3, top3 = self._spine()
        low, top = self.at(low3), self.at(top3)
        ws, wh = self._half_width(0.122, 0.068), self._half_width(0.092, 0.064)
        waist = ((low[0] + top[0]) / 2, low[1] * 0.55 + top[1] * 0.45)
        ww = 0.9 * (ws + wh) / 2
        drop = 0.05 * h
        if (look.skirt or look.coat) and self.pose.mode != "ride":
            hem = low[1] - (0.17 if look.skirt else 0.13) * h
            flare = wh * (1.5 if look.skirt else 1.15)
            colour = look.bottom if look.skirt and not look.coat else look.top
            self.canvas.fill(
                [
                    (low[0] - wh, low[1] + drop),
                    (low[0] + wh, low[1] + drop),
                    (low[0] + flare, hem),
                    (low[0] - flare, hem),
                ],
                colour,
                direction=(-1.0, 0.25),
                grain=0.06,
            )
        outline = [
            (low[0] - wh, low[1] - drop),
            (waist[0] - ww, waist[1]),
            (top[0] - ws, top[1] - 0.035 * h),
            (top[0] - 0.6 * ws, top[1]),
            (top[0] + 0.6 * ws, top[1]),
            (top[0] + ws, top[1] - 0.035 * h),
            (waist[0] + ww, waist[1]),
            (low[0] + wh, low[1] - drop),
        ]
        self.canvas.fill(
            outline,
            look.top,
            pattern=look.top_pattern,
            second=look.top_second,
            direction=(-1.0, 0.35),
            shade=0.2,
            grain=0.05,
        )
        if look.coat and self.sin > 0.4:
            self.canvas.fill(
                [(top[0] - 0.01, top[1]), (top[0] + 0.03, top[1]), (low[0] + 0.02, low[1] - drop)],
                look.top_second,
            )

    def _paint_bag(self) -> None:
        assert self.look.bag is not None
        low3, top3 = self._spine()
        mid = ((low3[0] * 0.35 + top3[0] * 0.65) - 0.085 * self.h, 0.0, low3[2] * 0.35 + top3[2] * 0.65)
        centre = self.at(mid)
        self.canvas.fill(
            oval(centre, self._half_width(0.088, 0.055), 0.125 * self.h, n=16),
            self.look.bag,
            shade=0.22,
            grain=0.06,
        )

    def _paint_head(self) -> None:
        look, h = self.look, self.h
        _, top3 = self._spine()
        forward = 0.03 if self.pose.mode == "ride" else 0.012
        neck = self.at(top3)
        head3 = (top3[0] + forward * h, 0.0, top3[2] + 0.098 * h)
        head = self.at(head3)
        r = 0.066 * h
        back = (-0.36 * r * self.cos, 0.22 * r)
        if look.long_hair:
            fall = (head[0] + 1.4 * back[0], head[1] - 0.75 * r)
            self.canvas.fill(oval(fall, r * (0.72 + 0.32 * abs(self.sin)), 1.5 * r), shaded(look.hair, 0.85))
        self.canvas.limb(neck, head, 0.034 * h, 0.032 * h, shaded(look.skin, 0.85))
        self.canvas.fill(
            oval((head[0] + back[0], head[1] + back[1]), r * 1.0, r * 1.05), look.hair, shade=0.25
        )
        if self.sin > -0.45:
            face = (head[0] + 0.2 * r * self.cos, head[1] - (0.12 * r + 0.06 * r * self.sin))
            self.canvas.fill(
                oval(face, r * (0.74 + 0.1 * self.sin), r * 1.0), look.skin, direction=(-0.6, 1.0)
            )
            self._paint_eyes(head, r)
            self._paint_fringe(head, r)
        else:
            self.canvas.fill(oval(head, r * 0.98, r * 1.08), look.hair, shade=0.25, grain=0.08)
        if look.hat is not None:
            self._paint_hat(head, r)

    def _paint_eyes(self, head: Point, r: float) -> None:
        for side in (-1, 1):
            sight = self.cos * 0.62 - side * self.sin * 0.34
            if abs(self.cos) < 0.9 or side == 1:
                self.canvas.fill(
                    oval((head[0] + sight * r, head[1] - 0.02 * r), 0.085 * r, 0.11 * r, n=8), (38, 30, 30)
                )

    def _paint_fringe(self, head: Point, r: float) -> None:
        cap = [
            p
            for p in oval((head[0] + 0.02 * r * self.cos, head[1] + 0.3 * r), r * 0.98, r * 0.85)
            if p[1] > head[1] + 0.42 * r
        ]
        if len(cap) >= 3:
            self.canvas.fill(cap, self.look.hair, shade=0.25, grain=0.08)

    def _paint_hat(self, head: Point, r: float) -> None:
        assert self.look.hat is not None
        cap = [p for p in oval((head[0], head[1] + 0.3 * r), r * 1.1, r * 1.05) if p[1] > head[1] + 0.3 * r]
        self.canvas.fill(cap, self.look.hat, shade=0.22)
        brim = (head[0] + 1.25 * r * self.cos, head[1] + 0.36 * r - 0.1 * r * self.sin)
        self.canvas.limb((head[0], head[1] + 0.42 * r), brim, 0.14 * r, 0.1 * r, shaded(self.look.hat, 0.8))


def _bend(a: Point, b: Point, first: float, second: float, side: float) -> Point:
    """The joint between two bones of the given lengths from `a` to `b`, bent to `side` (inverse
    kinematics)."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    reach = min(math.hypot(dx, dy), (first + second) * 0.999) or 1e-3
    along = (first * first - second * second + reach * reach) / (2 * reach)
    out = math.sqrt(max(first * first - along * along, 0.0)) * side
    norm = math.hypot(dx, dy) or 1e-3
    ux, uy = dx / norm, dy / norm
    return (a[0] + ux * along - uy * out, a[1] + uy * along + ux * out)
