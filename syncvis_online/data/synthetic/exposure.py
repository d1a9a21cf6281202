"""Who can be seen, by boxes in metres: near enough to steer the crowd, and the same at every resolution.

The exact answer, pixel by pixel, is the composer's.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncvis_online.data.synthetic.actors import Actor
from syncvis_online.data.synthetic.camera import Camera
from syncvis_online.data.synthetic.occluders import COVERS, Occluder

Box = tuple[float, float, float, float, float]
"""Depth in metres, then left, top, right, bottom in picture heights."""

_BODY = tuple((x, y) for x in (-0.35, 0.35) for y in (0.3, 0.85))
_VEHICLE = (-0.94, 0.94, 0.15, 0.9)


class Exposure:
    """Knows the things that stand still; asks the vehicles where they are."""

    def __init__(self, camera: Camera, occluders: Sequence[Occluder]) -> None:
        self._camera = camera
        self._still = [self._box(o.x_m, o.z_m, cover) for o in occluders for cover in COVERS.get(o.kind, ())]

    def exposed(self, actors: Sequence[Actor]) -> list[Actor]:
        """Those well inside the picture of whom at least half a body is not behind something."""
        boxes = self._still + [self._vehicle(a) for a in actors if a.look.label in ("car", "truck")]
        return [a for a in actors if a.well_inside(self._camera) and self._uncovered(a, boxes) >= 2]

    def _box(self, x_m: float, z_m: float, cover: tuple[float, float, float, float]) -> Box:
        left, right, low, high = cover
        ground, scale = self._camera.ground_y(z_m), self._camera.scale(z_m)
        return (
            z_m,
            self._camera.screen_x(x_m + left, z_m),
            ground - high * scale,
            self._camera.screen_x(x_m + right, z_m),
            ground - low * scale,
        )

    def _vehicle(self, actor: Actor) -> Box:
        left, right, low, high = _VEHICLE
        reach, height = actor.look.reach_m, actor.look.heights_m[0]
        return self._box(actor.x_m, actor.z_m, (left * reach, right * reach, low * height, high * height))

    def _uncovered(self, actor: Actor, boxes: Sequence[Box]) -> int:
        nearer = [box for box in boxes if box[0] < actor.z_m]
        ground, scale = self._camera.ground_y(actor.z_m), self._camera.scale(actor.z_m)
        count = 0
        for across, up in _BODY:
            x = self._camera.screen_x(actor.x_m + across * actor.look.reach_m, actor.z_m)
            y = ground - (actor.altitude_m + up * actor.look.heights_m[0]) * scale
            count += not any(left < x < right and top < y < bottom for _, left, top, right, bottom in nearer)
        return count
