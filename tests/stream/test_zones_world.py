"""Zones and lines against the synthetic world, which knows where everybody is: counts are the truth's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest

from stream.camera_config import LineConfig, ZoneConfig
from stream.events import TrackEvent, TrackEvents
from stream.types import TrackedFrame
from stream.zones import Zones
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.types import Track, box_of_mask, encode_mask

HEIGHT, WIDTH, FRAMES = 96, 160, 240
MARGIN = 0.02


def exact_frames(seed: int, fps: float) -> Iterator[TrackedFrame]:
    """What a perfect tracker would answer."""
    world = SyntheticWorld(load_level("medium"), seed, fps=fps, size=(HEIGHT, WIDTH))
    for _ in range(FRAMES):
        step = world.step()
        tracks = tuple(
            Track(o.track_id + 1, o.label, 1.0, encode_mask(o.mask), box_of_mask(o.mask))
            for o in step.objects
        )
        yield TrackedFrame(
            "cam", step.index, step.index, Fraction(1, 25), step.time_s, "media", tracks, step.image
        )


@pytest.fixture(scope="module")
def frames() -> list[TrackedFrame]:
    """Half a minute, without the pictures: what is asked of them is their size."""
    return [replace(frame, image=frame.image[:, :, :0]) for frame in exact_frames(2, fps=8.0)]


def told(frames: list[TrackedFrame], zones: Zones) -> list[TrackEvent]:
    events = TrackEvents(gone_after_s=5.0, zones=zones)
    return [event for frame in frames for event in events.of(frame)]


def feet(frames: list[TrackedFrame]) -> dict[int, list[float]]:
    """The middle of each track's box, by frame, in shares of the picture's shorter side."""
    places: dict[int, list[float]] = {}
    for frame in frames:
        for track in frame.tracks:
            x0, _, x1, _ = track.box_xyxy
            places.setdefault(track.track_id, []).append((x0 + x1) / 2 / HEIGHT)
    return places


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_line_across_the_street_counts_who_changed_sides(frames: list[TrackedFrame], share: float) -> None:
    line = LineConfig(points=((share, 1.0), (share, 0.0)), margin=MARGIN, settle_s=0)
    events = told(frames, Zones(lines={"door": line}))
    net = Counter[int]()
    for event in events:
        if event.event == "cross":
            net[event.id] += 1 if event.direction == "forward" else -1
    crossed = 0
    for track_id, places in feet(frames).items():
        sure = [x > share * WIDTH / HEIGHT for x in places if abs(x - share * WIDTH / HEIGHT) > MARGIN]
        expected = int(sure[-1]) - int(sure[0]) if sure else 0
        assert net[track_id] == expected, f"track {track_id}"
        crossed += abs(expected)
    assert crossed >= 2, "the test sees somebody cross"


def test_two_halves_of_the_street_hold_all_who_are_there(frames: list[TrackedFrame]) -> None:
    left = ((0, 0), (0.503, 0), (0.503, 1), (0, 1))  # no foot is on that very line
    right = ((0.503, 0), (1, 0), (1, 1), (0.503, 1))
    settings = {"margin": 0.0, "settle_s": 0.0}
    zones = Zones(
        {"left": ZoneConfig(polygon=left, **settings), "right": ZoneConfig(polygon=right, **settings)}
    )  # type: ignore[arg-type]
    events = TrackEvents(gone_after_s=0.001, zones=zones)
    balance = Counter[str]()
    for frame in frames:
        for event in events.of(frame):
            balance[event.zone or ""] += {"enter": 1, "leave": -1}.get(event.event, 0)
        views, _ = zones.view()
        assert sum(view.count for view in views) == len(frame.tracks)
        assert {view.name: view.count for view in views} == {
            "left": balance["left"],
            "right": balance["right"],
        }
        assert sum((Counter(view.counts) for view in views), Counter[str]()) == Counter(
            track.label for track in frame.tracks
        )


def test_the_order_of_a_life_is_kept(frames: list[TrackedFrame]) -> None:
    zone = ZoneConfig(polygon=((0.1, 0), (0.9, 0), (0.9, 1), (0.1, 1)), dwell_s=2.0)
    line = LineConfig(points=((0.5, 1), (0.5, 0)))
    lives: dict[int, list[str]] = {}
    for event in told(frames, Zones({"street": zone}, {"door": line})):
        lives.setdefault(event.id, []).append(event.event)
    assert any("dwell" in life for life in lives.values())
    for life in lives.values():
        assert life[0] == "born"
        assert "gone" not in life[:-1]
        stays = [kind for kind in life if kind in ("enter", "dwell", "leave")]
        for before, after in zip(["leave", *stays], stays, strict=False):
            assert after in {"leave": ("enter",), "enter": ("dwell", "leave"), "dwell": ("leave",)}[before]
        if life[-1] == "gone" and stays:
            assert stays[-1] == "leave"
