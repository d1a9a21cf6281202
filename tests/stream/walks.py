"""Tracks that walk over a picture, for the tests of zones and lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from stream.types import TrackedFrame
from stream.zones import Happening, Sighting, Zones
from syncvis_online.types import Track
from tests.stream.frames import make_tracked

SIZE = (1600, 900)
EMPTY = {"size": [SIZE[1], SIZE[0]], "counts": ""}


def standing_at(x: float, y: float, track_id: int = 1, label: str = "person") -> Track:
    """A track whose box's lower edge has its middle at that share of the picture."""
    foot_x, foot_y = x * SIZE[0], y * SIZE[1]
    box = (foot_x - 20, foot_y - 100, foot_x + 20, foot_y)
    return Track(track_id, label, 0.9, EMPTY, box)  # type: ignore[arg-type]


def seen(
    zones: Zones, at_s: float, x: float, y: float, track_id: int = 1, label: str = "person"
) -> list[Happening]:
    """What is told of a track that is seen there."""
    return zones.see(Sighting(standing_at(x, y, track_id, label), SIZE, at_s))


def walked(
    zones: Zones, path: Iterable[tuple[float, float]], *, fps: float = 25.0, track_id: int = 1
) -> list[Happening]:
    """What is told of a track that is seen at these places, one frame each."""
    return [happening for i, (x, y) in enumerate(path) for happening in seen(zones, i / fps, x, y, track_id)]


def walking(seq: int, *tracks: Track, at_s: float | None = None) -> TrackedFrame:
    """Frame `seq` of camera "yard", at 10 frames/s, with these tracks on it."""
    at_s = 1000 + seq / 10 if at_s is None else at_s
    image = np.broadcast_to(np.uint8(90), (SIZE[1], SIZE[0], 3))
    return replace(make_tracked(seq, "yard"), tracks=tracks, image=image, captured_at_s=at_s)
