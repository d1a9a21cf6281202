"""Where each actor is and how it moves: walkers, followers, vehicles, birds.

Owns the motion on the ground in metres and seconds. Knows nothing about pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from syncvis_online.data.synthetic.camera import Camera
from syncvis_online.data.synthetic.level import LevelConfig
from syncvis_online.data.synthetic.looks import HEADINGS, PHASES, Look, Pose

_TURN_SPEED = 4.0
_EASING = 3.0
_MAX_DRIFT = 0.45
_HEADWAY_M = 0.6
_LANE_M = 1.2


@dataclass(slots=True)
class Actor:
    """One object with a lasting identity.

    `direction` is in radians on the ground: 0 to the picture's right, a quarter turn towards the camera.
    `altitude_m` is the height of the foot point above the ground, `gap_m` the free way to the vehicle ahead.
    A follower copies its leader's way.
    """

    track_id: int
    appearance: int
    look: Look
    rng: np.random.Generator
    x_m: float
    z_m: float
    z_range: tuple[float, float]
    speed_mps: float
    direction: float
    altitude_m: float = 0.0
    leader: Actor | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    mode: str = "walk"
    facing: float = field(init=False)
    pace_mps: float = field(init=False)
    way_m: float = field(init=False)
    pause_s: float = 0.0
    gap_m: float = math.inf
    entered: bool = False

    def __post_init__(self) -> None:
        self.facing = self.direction
        self.pace_mps = self.speed_mps
        self.way_m = float(self.rng.uniform(0, self.look.cycle_m))

    @property
    def three_dimensional(self) -> bool:
        """People are drawn from every side; everything else from its flank."""
        return self.look.label == "person" and self.mode != "ride"

    def advance(self, dt_s: float, level: LevelConfig) -> None:
        if self.leader is not None:
            self._follow(dt_s)
        else:
            self._decide(dt_s, level)
            self._move(dt_s)
        change = math.remainder(self.direction - self.facing, 2 * math.pi)
        step = _TURN_SPEED * dt_s
        self.facing += max(-step, min(step, change))

    def _decide(self, dt_s: float, level: LevelConfig) -> None:
        label = self.look.label
        if self.pause_s > 0:
            self.pause_s -= dt_s
            return
        if label != "bird" and self.rng.random() < level.stop_rate_per_s * dt_s:
            self.pause_s = float(self.rng.uniform(*level.stop_duration_s))
        if label in ("person", "dog") and self.rng.random() < level.turn_rate_per_s * dt_s:
            self._turn()

    def _turn(self) -> None:
        right = math.cos(self.direction) > 0
        if self.rng.random() < 0.5:
            right = not right
        drift = float(self.rng.uniform(-1.0, 1.0)) * (1.2 if self.look.label == "person" else _MAX_DRIFT)
        self.direction = drift if right else math.pi - drift

    def _move(self, dt_s: float) -> None:
        wanted = 0.0 if self.pause_s > 0 else min(self.speed_mps, max(0.0, 1.2 * (self.gap_m - _HEADWAY_M)))
        self.pace_mps += (wanted - self.pace_mps) * min(1.0, _EASING * dt_s)
        step = min(self.pace_mps * dt_s, max(0.0, self.gap_m))
        self.way_m += step
        self.x_m += step * math.cos(self.direction)
        self.z_m -= step * math.sin(self.direction)
        if not self.z_range[0] <= self.z_m <= self.z_range[1]:
            self.z_m = min(max(self.z_m, self.z_range[0]), self.z_range[1])
            self.direction = -self.direction

    def _follow(self, dt_s: float) -> None:
        leader = self.leader
        assert leader is not None
        side = 1.0 if math.cos(leader.direction) >= 0 else -1.0
        x, z = leader.x_m + side * self.offset[0], leader.z_m + self.offset[1]
        z = min(max(z, self.z_range[0]), self.z_range[1])
        share = 1.0 if self.mode == "ride" or leader.look.label == "bicycle" else min(1.0, _EASING * dt_s)
        dx, dz = (x - self.x_m) * share, (z - self.z_m) * share
        self.x_m, self.z_m = self.x_m + dx, self.z_m + dz
        self.pace_mps = math.hypot(dx, dz) / dt_s
        self.way_m += leader.pace_mps * dt_s if share == 1.0 else math.hypot(dx, dz)
        self.direction = leader.direction

    def pose(self) -> Pose:
        """The quantised pose; a bicycle's rider pedals in step with its cranks."""
        source = self.leader if self.mode == "ride" and self.leader is not None else self
        phase = int(source.way_m / source.look.cycle_m * PHASES) % PHASES
        heading = 0
        if self.three_dimensional:
            heading = round(self.facing / (2 * math.pi) * HEADINGS) % HEADINGS
        mode = self.mode
        if mode == "walk" and self.pace_mps < 0.15 and self.look.label in ("person", "dog"):
            mode, phase = "stand", 0
        return Pose(mode, phase - phase % (PHASES // self.look.phases), heading)

    @property
    def mirrored(self) -> bool:
        return not self.three_dimensional and math.cos(self.facing) < 0

    def outside(self, camera: Camera) -> bool:
        """Is the whole body beyond the left or the right edge of the picture?"""
        return abs(self.x_m) > camera.half_width_m(self.z_m) + self.look.reach_m + camera.shake_m(self.z_m)

    def well_inside(self, camera: Camera) -> bool:
        return abs(self.x_m) < 0.96 * camera.half_width_m(self.z_m)

    def leaving(self, camera: Camera) -> bool:
        """Out of the picture after having been in it, or on its way from it."""
        if not self.outside(camera):
            self.entered = True
            return False
        away = self.x_m * math.cos(self.direction) > 0
        return self.entered or (away and self.leader is None)


def in_lane(a: Actor, b: Actor) -> bool:
    """Do two vehicles drive in one lane?"""
    vehicles = a.look.label in ("car", "truck") and b.look.label in ("car", "truck")
    return vehicles and a is not b and abs(a.z_m - b.z_m) < _LANE_M


def measure_gaps(actors: list[Actor]) -> None:
    """Tell each vehicle how far away the next one in its lane is, so that none drives through another."""
    for actor in actors:
        way = 1.0 if math.cos(actor.direction) >= 0 else -1.0
        ahead = [b for b in actors if in_lane(actor, b) and way * (b.x_m - actor.x_m) > 0]
        actor.gap_m = min(
            (abs(b.x_m - actor.x_m) - _reach(b) - _reach(actor) for b in ahead), default=math.inf
        )


def free_of_traffic(actor: Actor, actors: list[Actor], gap_m: float) -> bool:
    """Is there `gap_m` of free lane before and behind a vehicle? True for everything else."""
    return all(
        abs(b.x_m - actor.x_m) > _reach(actor) + _reach(b) + gap_m for b in actors if in_lane(actor, b)
    )


def _reach(actor: Actor) -> float:
    return actor.look.reach_m
