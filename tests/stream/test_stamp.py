"""The burnt-in frame number can be read after a lossy codec, and is never read where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.stamp import BITS, block_px, draw_stamp, read_stamp, stamp_area
from tests.stream.viewer_frames import make_picture


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**40))
def test_the_low_bits_come_back(number: int) -> None:
    image = make_picture(0).image.copy()
    draw_stamp(image, number)
    assert read_stamp(image) == number % (1 << BITS)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**24 - 1), st.integers(0, 2**16))
def test_it_survives_strong_compression_of_a_noisy_picture(number: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    draw_stamp(image, number)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    assert read_stamp(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)) == number


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16))
def test_noise_is_not_a_number(seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    assert read_stamp(noise) is None


def test_pictures_without_a_stamp_have_no_number() -> None:
    assert read_stamp(make_picture(3).image) is None
    assert read_stamp(np.zeros((360, 640, 3), np.uint8)) is None
    assert read_stamp(np.full((8, 8, 3), 255, np.uint8)) is None


def test_one_wrong_block_is_noticed() -> None:
    side = block_px(640)
    for column in range(18):
        image = np.full((360, 640, 3), 128, np.uint8)
        draw_stamp(image, 0x5A5A5A)
        rows, _ = stamp_area(360, 640)
        block = image[rows.start : rows.start + side, column * side : (column + 1) * side]
        block[:] = 251 - block
        assert read_stamp(image) is None


def test_it_covers_only_its_area() -> None:
    image = np.full((720, 1280, 3), 77, np.uint8)
    draw_stamp(image, 99)
    image[stamp_area(720, 1280)] = 77
    assert (image == 77).all()


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="100x90 is too small"):
        draw_stamp(np.zeros((90, 100, 3), np.uint8), 1)
