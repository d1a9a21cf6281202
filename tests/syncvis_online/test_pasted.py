"""Pseudo-videos: masks are exact and disjoint, identities last, nothing is doubled, seeds repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncvis_online.data.clips import MIN_VISIBLE_PX, Clip, clip_from_layers, flip, random_crop, resize
from syncvis_online.data.clips_photometric import photometric_jitter
from syncvis_online.data.pasted import pasted_clip, photo_clip
from syncvis_online.data.pasted_cutouts import Cutout, CutoutBank, cut_out
from syncvis_online.data.pasted_paths import companion_path, occluder_path, random_path
from syncvis_online.data.photographs import Photograph, PhotographSet
from tests.syncvis_online.photograph_data import write_photographs

SIZE = (96, 160)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Photograph]:
    root = tmp_path_factory.mktemp("photographs")
    write_photographs(root, [f"coco_{i}.png" for i in range(3)])
    return list(PhotographSet(root, "all"))


def _painted(colours: list[tuple[int, int, int]], boxes: list[tuple[int, int, int, int]]) -> Photograph:
    """A black picture with one plainly coloured box an instance: colour tells what a pixel truly is."""
    image = np.zeros((200, 300, 3), dtype=np.uint8)
    masks = np.zeros((len(boxes), 200, 300), dtype=np.bool_)
    for i, (colour, (y0, y1, x0, x1)) in enumerate(zip(colours, boxes, strict=True)):
        image[y0:y1, x0:x1] = colour
        masks[i, y0:y1, x0:x1] = True
    labels = np.arange(len(boxes), dtype=np.int64)
    return Photograph("p", "coco", image, labels, masks, np.zeros((200, 300), dtype=np.bool_))


def _assert_valid(clip: Clip, T: int, size: tuple[int, int]) -> None:
    assert clip.images.shape == (T, *size, 3)
    assert clip.images.dtype == np.uint8
    assert clip.masks.shape == (len(clip.labels), T, *size)
    assert clip.masks.dtype == clip.ignore.dtype == np.bool_
    assert (clip.masks.sum(axis=0, dtype=np.int64) + clip.ignore).max(initial=0) <= 1
    area = clip.masks.sum(axis=(2, 3))
    assert ((area == 0) | (area >= MIN_VISIBLE_PX)).all()
    assert area.any(axis=1).all()


@given(seed=seeds, T=st.integers(1, 7), motion=st.sampled_from((0.0, 1.0, 5.0)))
@settings(max_examples=15, deadline=None)
def test_clips_are_valid(photographs: list[Photograph], seed: int, T: int, motion: float) -> None:
    rng = np.random.default_rng(seed)
    bank = CutoutBank.of(photographs)
    _assert_valid(photo_clip(photographs[0], T, SIZE, rng, motion), T, SIZE)
    pasted = pasted_clip(photographs, bank, T, SIZE, rng, motion=motion)
    _assert_valid(pasted, T, SIZE)
    _assert_valid(random_crop(pasted, (48, 64), rng), T, (48, 64))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_masks_lie_on_their_pixels_and_no_body_is_doubled(seed: int) -> None:
    photograph = _painted([(255, 0, 0), (0, 255, 0)], [(40, 150, 30, 90), (60, 180, 170, 280)])
    clip = photo_clip(photograph, 4, SIZE, np.random.default_rng(seed), 3.0)
    strong = (clip.images.max(axis=-1) > 200) & (clip.images.min(axis=-1) < 60)
    for mask, label in zip(clip.masks, clip.labels, strict=True):
        own = strong & (clip.images[..., label] > 200)
        assert (own & mask).sum() >= 0.98 * own.sum()
        assert (own & mask).sum() >= 0.85 * mask.sum()


def test_a_pasted_object_hides_what_is_under_it_and_masks_are_what_is_seen() -> None:
    background = _painted([(255, 0, 0)], [(0, 200, 0, 300)])
    green = np.zeros((60, 30, 4), dtype=np.uint8)
    green[2:-2, 2:-2] = (0, 255, 0, 255)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        clip = pasted_clip([background], CutoutBank([Cutout(green, 1, "p")]), 5, SIZE, rng, motion=0.0)
        red = clip.images[..., 0] == 255  # the border is darker
        green_seen = (clip.images[..., 1] > clip.images[..., 0].astype(int) + 60) & ~red
        pasted = clip.masks[clip.labels == 1].any(axis=0) | clip.ignore
        assert (pasted & green_seen).sum() >= 0.97 * green_seen.sum()
        assert (red & clip.masks[clip.labels == 0].any(axis=0)).sum() >= 0.97 * red.sum()


def test_an_identity_outlives_full_occlusion_and_absence() -> None:
    layers = np.zeros((5, 20, 20), dtype=np.int16)
    layers[[0, 1, 4], 2:8, 2:8] = 1
    layers[2, 2:8, 2:8] = 2
    layers[3, 0:2, 0:4] = 1
    clip = clip_from_layers(np.zeros((5, 20, 20, 3), np.uint8), layers, np.array([4, 5, 3]))
    assert clip.labels.tolist() == [4, 5]
    assert clip.masks[0].any(axis=(1, 2)).tolist() == [True, True, False, False, True]
    assert clip.ignore.sum(axis=(1, 2)).tolist() == [0, 0, 0, 8, 0]


def test_the_same_seed_gives_the_same_clip_and_another_gives_another(photographs: list[Photograph]) -> None:
    bank = CutoutBank.of(photographs)

    def render(seed: int) -> Clip:
        rng = np.random.default_rng(seed)
        return photometric_jitter(pasted_clip(photographs, bank, 3, SIZE, rng), rng)

    assert np.array_equal(render(3).images, render(3).images)
    assert np.array_equal(render(3).masks, render(3).masks)
    assert not np.array_equal(render(3).images, render(4).images)


def test_a_still_camera_gives_equal_frames(photographs: list[Photograph]) -> None:
    clip = photo_clip(photographs[0], 3, SIZE, np.random.default_rng(0), 0.0)
    assert (clip.images == clip.images[0]).all()
    assert (clip.masks == clip.masks[:, :1]).all()


def test_only_whole_objects_are_cut_out() -> None:
    whole, tiny, corner = (50, 120, 100, 140), (5, 15, 250, 260), (150, 200, 0, 60)
    photograph = _painted([(255, 0, 0), (0, 255, 0), (0, 0, 255)], [whole, tiny, corner])
    photograph.masks[0, 80:90] = False
    assert cut_out(photograph) == []
    photograph.masks[0, 50:120, 100:140] = True
    (cutout,) = cut_out(photograph)
    assert cutout.label == 0
    assert not cutout.rgba[[0, -1]][..., 3].any()
    inside = cutout.rgba[..., 3] == 255
    assert (cutout.rgba[inside][:, :3] == (255, 0, 0)).all()
    with pytest.raises(ValueError, match="no cut-outs"):
        CutoutBank.of([])


def test_rare_classes_are_drawn_more_than_their_share() -> None:
    rgba = np.zeros((8, 8, 4), dtype=np.uint8)
    bank = CutoutBank([Cutout(rgba, 0, "p")] * 96 + [Cutout(rgba, 4, "p")] * 4)
    rng = np.random.default_rng(0)
    dogs = np.mean([cutout.label == 4 for _ in range(400) for cutout in bank.draw(2, rng)])
    assert 0.11 < dogs < 0.23  # square roots: 2 / (2 + 9.8) = 0.17


@given(seed=seeds, T=st.integers(1, 16))
@settings(max_examples=30, deadline=None)
def test_occluders_meet_the_object_they_hide(seed: int, T: int) -> None:
    rng = np.random.default_rng(seed)
    path = random_path(T, rng)
    occluder, companion = occluder_path(path, rng), companion_path(path, rng)
    assert np.abs(occluder.x - path.x).min() < 1e-9
    for each in (path, occluder, companion):
        values: NDArray[np.float64] = np.stack([each.x, each.y, each.height, each.turn])
        assert values.shape == (4, T)
        assert np.isfinite(values).all()
        assert (each.height > 0).all()


def test_flip_is_its_own_inverse_and_a_resize_keeps_shapes_in_place(photographs: list[Photograph]) -> None:
    clip = photo_clip(photographs[0], 2, SIZE, np.random.default_rng(1))
    twice = flip(flip(clip))
    assert np.array_equal(twice.images, clip.images)
    assert np.array_equal(twice.masks, clip.masks)
    half = resize(clip, (SIZE[0] // 2, SIZE[1] // 2))
    share = clip.masks.mean(axis=(1, 2, 3))
    assert np.allclose(half.masks.mean(axis=(1, 2, 3)), share, rtol=0.1)


def test_no_strength_changes_nothing_and_labels_are_never_touched(photographs: list[Photograph]) -> None:
    rng = np.random.default_rng(5)
    clip = photo_clip(photographs[0], 2, SIZE, rng)
    assert np.array_equal(photometric_jitter(clip, rng, strength=0.0).images, clip.images)
    changed = [photometric_jitter(clip, rng) for _ in range(10)]
    assert all(c.masks is clip.masks and c.ignore is clip.ignore for c in changed)
    assert sum(not np.array_equal(c.images, clip.images) for c in changed) >= 8
    with pytest.raises(ValueError, match="strength"):
        photometric_jitter(clip, rng, strength=-1)
    with pytest.raises(ValueError, match="min_share"):
        random_crop(clip, SIZE, rng, min_share=0)
