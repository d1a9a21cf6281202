"""Who is in the world: spawns actors for ever, removes those that have left, keeps the number in bounds.

Ids count up and are never given twice. At most `level.objects[1]` actors are alive, so never more are seen;
enough are kept in the open for `level.objects[0]` to be seen. While no two actors share one look, the
next one is made a look-alike.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from syncvis_online.data.synthetic.actors import Actor, free_of_traffic, measure_gaps
from syncvis_online.data.synthetic.animals import draw_bird, draw_dog
from syncvis_online.data.synthetic.bicycle import draw_bicycle
from syncvis_online.data.synthetic.camera import Camera, Light
from syncvis_online.data.synthetic.car import draw_car
from syncvis_online.data.synthetic.exposure import Exposure
from syncvis_online.data.synthetic.layout import Layout
from syncvis_online.data.synthetic.level import LevelConfig
from syncvis_online.data.synthetic.looks import Look
from syncvis_online.data.synthetic.person import draw_person
from syncvis_online.data.synthetic.truck import draw_truck
from syncvis_online.types import LABELS

_MARGIN = 1.03
_FAR_MARGIN = 1.16
_TRIES = 4
_HOLD_S = 0.4
_MOST = {"truck": 2, "car": 4}
"""A truck is added only to fewer than so many vehicles, a car likewise: a street full of them would hide all
else."""


class Population:
    """`actors` are alive, in no order; `step` moves the world on by `dt_s`."""

    def __init__(
        self,
        level: LevelConfig,
        camera: Camera,
        light: Light,
        layout: Layout,
        exposure: Exposure,
        seed: int,
    ) -> None:
        self._exposure = exposure
        self._level, self._camera, self._light, self._layout = level, camera, light, layout
        self._seed = seed
        self._rng = np.random.default_rng([seed, 101])
        self._next_id = 1
        self._next_appearance = 1
        self._bicycle_waits = False  # for room for itself and its rider
        self.actors: list[Actor] = []
        self._target = self._draw_target()
        self._fill_up(inside=True)

    def step(self, dt_s: float) -> None:
        measure_gaps(self.actors)
        self._hold_the_exposed()
        for actor in self.actors:
            if actor.leader is None:
                actor.advance(dt_s, self._level)
        for actor in self.actors:
            if actor.leader is not None:
                actor.advance(dt_s, self._level)
        gone = {a.track_id for a in self.actors if a.leaving(self._camera)}
        if gone:
            self.actors = [a for a in self.actors if a.track_id not in gone]
            for actor in self.actors:
                if actor.leader is not None and actor.leader.track_id in gone:
                    self._release(actor)
        if self._rng.random() < 0.1 * dt_s:
            self._target = self._draw_target()
        self._fill_up(inside=False)

    def _hold_the_exposed(self) -> None:
        """While few can be seen, they stop where they are until others come out from hiding."""
        exposed = self._exposure.exposed(self.actors)
        if len(exposed) <= self._level.objects[0] + 1:
            for actor in exposed:
                if actor.look.label != "bird":
                    actor.pause_s = max(actor.pause_s, _HOLD_S)

    def _fill_up(self, *, inside: bool) -> None:
        """Spawn until the target is met; a level of vehicles only may have to wait for room on the road."""
        low, high = self._level.objects
        seen = sum(a.well_inside(self._camera) for a in self.actors)
        few = seen < low + 3
        target = high if few else self._target
        for _ in range(4 * high):
            room = high - len(self.actors)
            if len(self.actors) >= target or (self._bicycle_waits and room < 2 and not few):
                return
            self._spawn(room, inside=inside)

    def _release(self, actor: Actor) -> None:
        """The leader has left the picture: follow it out on one's own."""
        assert actor.leader is not None
        actor.speed_mps = max(actor.leader.speed_mps, 0.5)
        actor.pace_mps = actor.leader.pace_mps
        actor.leader = None

    def _draw_target(self) -> int:
        low, high = self._level.objects
        return int(self._rng.integers(max(low + 2, high - 1), high + 1))

    def _spawn(self, room: int, *, inside: bool) -> None:
        if self._spawn_lookalike(inside=inside):
            return
        weights = np.asarray(self._level.class_weights)
        label = LABELS[int(self._rng.choice(len(LABELS), p=weights / weights.sum()))]
        if self._bicycle_waits and room >= 2:
            label = "bicycle"
        elif label == "bicycle" and room < 2:
            self._bicycle_waits = True
            return
        self._bicycle_waits = self._bicycle_waits and label != "bicycle"
        leader = self._add(self._draw_look(label), self._appearance(), inside=inside)
        if leader is None:
            return
        if label == "bicycle":
            self._add_rider(leader)
        elif room >= 2 and label == "dog" and self._rng.random() < 0.5:
            self._add_companion(leader, self._draw_look("person"), self._appearance())
        elif room >= 2 and label == "person" and self._rng.random() < self._level.group_probability:
            twin_too = self._rng.random() < self._level.lookalike_probability
            look = leader.look if twin_too else self._draw_look("person")
            self._add_companion(leader, look, leader.appearance if twin_too else self._appearance())

    def _spawn_lookalike(self, *, inside: bool) -> bool:
        """Add a twin of one who is alone, always when no two are alike, else with the level's probability."""
        shared = Counter(a.appearance for a in self.actors)
        alone = [
            a
            for a in self.actors
            if shared[a.appearance] == 1 and a.look.label != "bicycle" and a.mode != "ride"
        ]
        needed = max(shared.values(), default=0) < 2
        if not alone or not (needed or self._rng.random() < self._level.lookalike_probability):
            return False
        twin = alone[int(self._rng.integers(len(alone)))]
        return self._add(twin.look, twin.appearance, inside=inside) is not None

    def _appearance(self) -> int:
        self._next_appearance += 1
        return self._next_appearance - 1

    def _draw_look(self, label: str) -> Look:
        rng = self._rng
        if label == "person":
            return draw_person(rng)
        if label == "bicycle":
            return draw_bicycle(rng)
        if label == "car":
            return draw_car(rng, lights_on=self._light.lit_windows > 0.2)
        if label == "truck":
            return draw_truck(rng)
        return draw_dog(rng) if label == "dog" else draw_bird(rng)

    def _depths(self, look: Look) -> tuple[float, float]:
        """The depths at which every silhouette of the look keeps within the level's heights."""
        low, high = self._level.height_fraction
        shortest, tallest = look.heights_m
        near = self._camera.focal * tallest * _MARGIN / high
        far = min(self._camera.focal * shortest / (low * _FAR_MARGIN), self._layout.backdrop_m - 1.5)
        near = max(near, self._camera.depth_of_ground(0.99)) if look.label != "bird" else near
        return near, max(far, near)

    def _in_front(self) -> int:
        """How many are nearer than the road, where no vehicle can hide them."""
        return sum(a.z_m < self._layout.road[0] for a in self.actors)

    def _draw_depth(self, look: Look, limits: tuple[float, float]) -> float:
        rng, (low, high) = self._rng, self._level.height_fraction
        if look.label in ("car", "truck"):
            road = self._layout.road
            lane = 0.28 if rng.random() < 0.5 else 0.72
            z = road[0] + (road[1] - road[0]) * (lane + float(rng.uniform(-0.06, 0.06)))
        elif look.label == "bird":
            z = limits[0] + (limits[1] - limits[0]) * float(rng.uniform(0.35, 1.0))
        elif self._in_front() < self._level.objects[0]:
            z = float(rng.uniform(limits[0], max(self._layout.road[0], limits[0])))
        else:
            split = low + 0.25 * (high - low)
            far = rng.random() < self._level.far_share
            share = float(rng.uniform(low, split) if far else split + (high - split) * rng.beta(1.4, 1.3))
            z = self._camera.focal * 1.75 / share
        return min(max(z, limits[0]), limits[1])

    def _speed(self, label: str) -> float:
        level = self._level
        ranges = {
            "person": level.walk_speed_mps,
            "dog": level.walk_speed_mps,
            "bicycle": level.ride_speed_mps,
            "car": level.drive_speed_mps,
            "truck": level.drive_speed_mps,
            "bird": level.fly_speed_mps,
        }
        return float(self._rng.uniform(*ranges[label]))

    def _add(self, look: Look, appearance: int, *, inside: bool) -> Actor | None:
        """A new actor in the picture (`inside`) or just beyond its edge; None where a vehicle finds no
        room."""
        if look.label in _MOST and sum(a.look.label in _MOST for a in self.actors) >= _MOST[look.label]:
            return None
        for _ in range(_TRIES):
            actor = self._place(look, appearance, inside=inside)
            hidden = inside and not self._exposure.exposed([actor])
            if free_of_traffic(actor, self.actors, 0.4 if inside else 4.0) and not hidden:
                return self._register(actor)
        return None

    def _place(self, look: Look, appearance: int, *, inside: bool) -> Actor:
        rng, camera = self._rng, self._camera
        limits = self._depths(look)
        z = self._draw_depth(look, limits)
        right = bool(rng.random() < 0.5)
        if look.label in ("car", "truck"):
            right = z < sum(self._layout.road) / 2
        if look.label in ("car", "truck", "bird"):
            limits = (z, z)
        half = camera.half_width_m(z)
        x = float(rng.uniform(-0.92, 0.92)) * half
        if not inside:
            reach = (look.reach_m + camera.shake_m(z)) * float(rng.uniform(1.0, 1.05))
            x = -(half + reach) if right else half + reach
        drift = float(rng.normal(0, 0.12)) if look.label in ("person", "dog", "bicycle") else 0.0
        altitude = 0.0
        if look.label == "bird":
            altitude = max(0.8, (camera.ground_y(z) - float(rng.uniform(0.10, 0.6))) / camera.scale(z))
        return Actor(
            track_id=self._next_id,
            appearance=appearance,
            look=look,
            rng=np.random.default_rng([self._seed, 102, self._next_id]),
            x_m=x,
            z_m=z,
            z_range=limits,
            speed_mps=self._speed(look.label),
            direction=drift if right else math.pi - drift,
            altitude_m=altitude,
        )

    def _register(self, actor: Actor) -> Actor:
        self._next_id += 1
        self.actors.append(actor)
        return actor

    def _add_rider(self, bicycle: Actor) -> None:
        """Three bicycles in four are ridden, the others are pushed."""
        ridden = self._rng.random() < 0.75
        if not ridden:
            bicycle.speed_mps = bicycle.pace_mps = min(self._speed("person"), bicycle.speed_mps)
        look = self._draw_look("person")
        near, far = self._depths(look)
        low, high = max(near, bicycle.z_range[0]) + 0.3, min(far, bicycle.z_range[1])
        bicycle.z_range = (low, max(high, low))
        bicycle.z_m = min(max(bicycle.z_m, low), bicycle.z_range[1])
        offset = (0.0, -0.02) if ridden else (-0.15, -0.28)
        self._attach(bicycle, look, self._appearance(), offset, "ride" if ridden else "walk")

    def _add_companion(self, leader: Actor, look: Look, appearance: int) -> None:
        side = 1.0 if self._rng.random() < 0.5 else -1.0
        offset = (float(self._rng.uniform(-0.5, 0.5)), side * float(self._rng.uniform(0.5, 0.9)))
        self._attach(leader, look, appearance, offset, "walk")

    def _attach(
        self, leader: Actor, look: Look, appearance: int, offset: tuple[float, float], mode: str
    ) -> None:
        near, far = self._depths(look)
        z = min(max(leader.z_m + offset[1], near), far)
        side = 1.0 if math.cos(leader.direction) >= 0 else -1.0
        self._register(
            Actor(
                track_id=self._next_id,
                appearance=appearance,
                look=look,
                rng=np.random.default_rng([self._seed, 102, self._next_id]),
                x_m=leader.x_m + side * offset[0],
                z_m=z,
                z_range=(near, far),
                speed_mps=leader.speed_mps,
                direction=leader.direction,
                leader=leader,
                offset=offset,
                mode=mode,
            )
        )
