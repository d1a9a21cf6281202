"""Boards hide instances for some frames: what is hidden is wanted no more, and all else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from syncvis_online.data.clips import Clip
from syncvis_online.data.clips_covered import cover

FRAMES, HEIGHT, WIDTH = 6, 96, 160


def clip_of_walkers(frames: int = FRAMES, size: int = 14) -> Clip:
    """Two squares on their ways over noise, and a strip that is ignored."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks = np.zeros((2, frames, HEIGHT, WIDTH), np.bool_)
    for t in range(frames):
        masks[0, t, 10 : 10 + size, 5 + 6 * t : 5 + 6 * t + size] = True
        masks[1, t, 60 : 60 + size, 120 - 6 * t : 120 - 6 * t + size] = True
    ignore = np.zeros((frames, HEIGHT, WIDTH), np.bool_)
    ignore[:, :, -3:] = True
    return Clip(images, masks, np.array([0, 4]), ignore)


@pytest.mark.parametrize("seed", range(20))
def test_only_what_is_under_a_board_changes(seed: int) -> None:
    clip = clip_of_walkers()
    covered = cover(clip, np.random.default_rng(seed))
    board = (covered.images != clip.images).any(-1)
    assert not board[0].any(), "everything is seen before it is hidden"
    assert (covered.masks <= clip.masks).all()
    assert not (covered.masks & board[None]).any()
    lost = clip.masks & ~covered.masks
    # Noise may give a pixel of the board the colour that was there: almost all pixels of it differ.
    assert np.count_nonzero(lost & board[None]) >= 0.95 * np.count_nonzero(lost)
    assert (covered.labels == clip.labels).all()
    assert not (covered.ignore & covered.masks.any(0)).any()


def test_some_instance_goes_away_and_some_comes_back() -> None:
    away = back = 0
    for seed in range(40):
        present = cover(clip_of_walkers(), np.random.default_rng(seed)).masks.any((2, 3))
        away += int((~present).any())
        back += int((~present[:, :-1] & present[:, 1:]).any())
    assert away == 40
    assert 20 <= back <= 38, "two thirds of the boards go before the clip ends"


def test_the_same_generator_gives_the_same_clip_and_the_source_is_not_written_to() -> None:
    clip, untouched = clip_of_walkers(), clip_of_walkers()
    a, b = (cover(clip, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a.images, b.images)
    assert np.array_equal(a.masks, b.masks)
    assert np.array_equal(clip.images, untouched.images)
    assert np.array_equal(clip.masks, untouched.masks)


def test_nothing_is_hidden_in_short_clips_nor_behind_half_the_picture() -> None:
    short = clip_of_walkers(frames=2)
    assert cover(short, np.random.default_rng(0)) is short
    large = clip_of_walkers(size=70)
    for seed in range(10):
        assert np.array_equal(cover(large, np.random.default_rng(seed)).images, large.images)
