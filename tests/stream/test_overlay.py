"""What is drawn is what the masks say, in colours that tell identities apart, on a copy of the picture."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.overlay import draw_overlay
from stream.stamp import read_stamp
from syncvis_online.colors import color_of, hex_color
from syncvis_online.types import Mask
from tests.stream.viewer_frames import SIZE, ellipse, make_picture, make_track

GREY = np.full((*SIZE, 3), 128, np.uint8)
GREY.setflags(write=False)


def changed(image: np.ndarray) -> Mask:
    """Where a picture is no longer grey."""
    return np.abs(image.astype(int) - 128).max(axis=2) > 2


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**9))
def test_ids_near_each_other_differ_in_colour(track_id: int) -> None:
    colors = [np.array(color_of(track_id + i), float) for i in range(8)]
    assert min(np.abs(a - b).sum() for a, b in itertools.combinations(colors, 2)) > 60
    assert min(np.ptp(color) for color in colors) > 90, "a colour that is nearly grey"


def test_a_colour_is_the_same_for_ever() -> None:
    assert [hex_color(i) for i in (1, 2, 3, 1000)] == ["#636aeb", "#5ddb1a", "#ff47bc", "#eb9f63"]


def test_the_camera_s_picture_is_never_written_to() -> None:
    frame = make_picture(3)
    before = frame.image.copy()
    overlay = draw_overlay(frame.image, frame.tracks, stamp=3)
    assert not np.shares_memory(overlay, frame.image)
    assert np.array_equal(frame.image, before)


def test_the_inside_of_a_mask_is_blended_and_the_rest_is_untouched() -> None:
    mask = ellipse((160, 96), (60, 40))
    overlay = draw_overlay(GREY, [make_track(5, mask)], tint=0.5, labels=False)
    inside = ellipse((160, 96), (52, 32))
    expected = 0.5 * 128 + 0.5 * np.array(color_of(5))
    assert np.abs(overlay[inside].astype(float) - expected).max() <= 1
    assert np.array_equal(changed(overlay), mask)


@settings(deadline=None, max_examples=60)
@given(st.integers(-20, 340), st.integers(-20, 210), st.integers(1, 80), st.integers(1, 80))
def test_masks_at_and_over_the_border_are_drawn_where_they_are(x: int, y: int, a: int, b: int) -> None:
    mask = ellipse((x, y), (a, b))
    overlay = draw_overlay(GREY, [make_track(1, mask)], labels=False)
    assert np.array_equal(changed(overlay), mask)


def test_a_hole_stays_open() -> None:
    ring = ellipse((160, 96), (60, 50)) & ~ellipse((160, 96), (30, 25))
    overlay = draw_overlay(GREY, [make_track(1, ring)], labels=False)
    assert (overlay[96, 160] == 128).all()


def test_a_small_object_is_visible_before_a_large_one() -> None:
    large, small = ellipse((160, 96), (90, 70)), ellipse((160, 96), (20, 15))
    overlay = draw_overlay(GREY, [make_track(1, small), make_track(2, large)], tint=1.0, labels=False)
    assert tuple(overlay[96, 160]) == color_of(1)
    assert tuple(overlay[96, 100]) == color_of(2)


@pytest.mark.parametrize("center", [(5, 5), (315, 5), (5, 187), (315, 187), (160, 96)])
def test_a_tag_lies_inside_the_picture_in_the_track_s_colour(center: tuple[int, int]) -> None:
    track = make_track(4, ellipse(center, (12, 12)), label="person", score=0.9)
    tagged = draw_overlay(GREY, [track])
    plain = draw_overlay(GREY, [track], labels=False)
    tag = (tagged != plain).any(axis=2)
    assert 500 < tag.sum() < 6000
    assert (np.abs(tagged[tag].astype(int) - color_of(4)).max(axis=1) < 3).mean() > 0.5


def test_a_stamp_is_drawn_over_everything_else() -> None:
    everything = np.ones(SIZE, np.bool_)
    assert read_stamp(draw_overlay(GREY, [make_track(1, everything)], stamp=4711)) == 4711
    assert read_stamp(draw_overlay(GREY, [make_track(1, everything)])) is None


def test_what_is_lost_is_not_drawn() -> None:
    track = make_track(4, ellipse((160, 96), (40, 30)))
    assert (draw_overlay(GREY, [track]) != GREY).any()
    assert np.array_equal(draw_overlay(GREY, [replace(track, state="lost")]), GREY)
