"""Classes and regions that a camera leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.app import Service
from stream.config import ServeConfig
from stream.errors import ConfigError
from stream.track_filter import Polygon, TrackFilter
from stream.types import TrackedFrame
from syncvis_online.types import Track, encode_mask
from tests.stream.frames import SquareEngine, make_tracked

SIZE = 40


def frame_of(*boxes: tuple[int, int, int, int], label: str = "dog", lost: bool = False) -> TrackedFrame:
    """A frame of SIZE x SIZE pixels with a full box (x0, y0, x1, y1) for each track, ids 1 and up."""
    tracks = []
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        mask = np.zeros((SIZE, SIZE), np.bool_)
        mask[y0:y1, x0:x1] = not lost
        box = (float(x0), float(y0), float(x1), float(y1))
        state = "lost" if lost else "confirmed"
        tracks.append(Track(i + 1, label, 0.5, encode_mask(mask), box, state=state))  # type: ignore[arg-type]
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    return replace(make_tracked(0, tracks=0), image=image, tracks=tuple(tracks))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def ids(frame: TrackedFrame) -> list[int]:
    return [track.track_id for track in frame.tracks]


def test_nothing_is_left_out_unless_told() -> None:
    frame = frame_of((0, 0, 10, 10))
    assert TrackFilter().of(frame) is frame


def test_only_the_named_classes_are_kept() -> None:
    assert ids(TrackFilter(["cat", "dog"]).of(frame_of((0, 0, 4, 4)))) == [1]
    assert ids(TrackFilter(["cat"]).of(frame_of((0, 0, 4, 4)))) == []


@pytest.mark.parametrize("lost", [False, True])
@given(left=st.integers(0, SIZE - 10))
def test_a_track_is_left_out_where_more_than_half_of_it_is_inside(left: int, lost: bool) -> None:
    kept = TrackFilter(ignore=[rectangle(0.0, 0.0, 0.5, 1.0)]).of(
        frame_of((left, 5, left + 10, 15), lost=lost)
    )
    columns_inside = min(max(SIZE // 2 - left, 0), 10)
    assert bool(kept.tracks) == (columns_inside <= 5)


def test_regions_count_together_and_those_of_another_size_are_made_anew() -> None:
    halves = [rectangle(0.0, 0.0, 0.25, 1.0), rectangle(0.25, 0.0, 0.5, 1.0)]
    ignoring = TrackFilter(ignore=halves)
    assert ids(ignoring.of(frame_of((5, 5, 15, 15), (25, 5, 35, 15)))) == [2]
    assert ids(ignoring.of(make_tracked(0))) == []  # 12 columns here, and the square is on 3 to 5


def test_a_service_tells_of_a_class_that_its_model_does_not_know() -> None:
    config = ServeConfig.model_validate({"cameras": {"yard": {"url": "synthetic:1", "labels": ["zebra"]}}})
    with pytest.raises(
        ConfigError, match=r"cameras\.yard\.labels: the model knows no 'zebra' \(it knows dog\)"
    ):
        Service(config, SquareEngine())


@pytest.mark.parametrize(
    "ignore", [[[[0, 0], [1, 0]]], [[[0, 0], [1, 0], [1, 1.2]]], [[[0, 0], [1], [1, 1]]]]
)
def test_a_region_that_is_none_is_refused(ignore: object) -> None:
    with pytest.raises(ValueError, match="ignore"):
        ServeConfig.model_validate({"cameras": {"yard": {"url": "synthetic:1", "ignore": ignore}}})
