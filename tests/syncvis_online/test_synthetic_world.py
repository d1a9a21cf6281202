"""The synthetic camera: the same for the same seed, exact ground truth, lasting identities, bounded."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from syncvis_online.data.synthetic import SyntheticFrame, SyntheticWorld, load_level, render_video
from syncvis_online.data.synthetic.actors import Actor, in_lane
from syncvis_online.data.synthetic.camera import draw_camera, draw_light
from syncvis_online.data.synthetic.exposure import Exposure
from syncvis_online.data.synthetic.layout import draw_layout
from syncvis_online.data.synthetic.population import Population
from syncvis_online.types import LABELS

SMALL = (96, 160)
MEDIUM = load_level("medium")


def assert_same(a: SyntheticFrame, b: SyntheticFrame) -> None:
    assert (a.index, a.time_s) == (b.index, b.time_s)
    np.testing.assert_array_equal(a.image, b.image)
    assert [(o.track_id, o.label, o.visible_fraction) for o in a.objects] == [
        (o.track_id, o.label, o.visible_fraction) for o in b.objects
    ]
    for x, y in zip(a.objects, b.objects, strict=True):
        np.testing.assert_array_equal(x.mask, y.mask)


def test_two_worlds_of_one_seed_are_equal_bit_for_bit() -> None:
    first, second = SyntheticWorld(MEDIUM, 4, size=SMALL), SyntheticWorld(MEDIUM, 4, size=SMALL)
    ahead = [first.step() for _ in range(30)]
    np.random.default_rng().random(3)  # nothing outside a world may move it
    for frame in ahead:
        assert_same(frame, second.step())


def test_a_world_without_ground_truth_gives_the_same_pictures() -> None:
    first, second = SyntheticWorld(MEDIUM, 5, size=SMALL), SyntheticWorld(MEDIUM, 5, size=SMALL)
    for _ in range(10):
        a, b = first.step(), second.step(masks=False)
        np.testing.assert_array_equal(a.image, b.image)
        assert not b.objects


def test_seeds_differ_in_scene_and_in_what_happens() -> None:
    frames = [SyntheticWorld(MEDIUM, seed, size=SMALL).step() for seed in range(4)]
    for i, a in enumerate(frames):
        for b in frames[:i]:
            assert np.abs(a.image.astype(int) - b.image.astype(int)).mean() > 10
    assert len({tuple(o.label for o in f.objects) for f in frames}) > 1


def test_frames_have_the_promised_form() -> None:
    for frame in render_video(MEDIUM, 6, 12, size=SMALL, fps=25):
        assert frame.image.shape == (*SMALL, 3)
        assert frame.image.dtype == np.uint8
        assert frame.time_s == pytest.approx(frame.index / 25)
        for item in frame.objects:
            assert item.label in LABELS
            assert item.mask.shape == SMALL
            assert item.mask.dtype == np.bool_
            assert np.count_nonzero(item.mask) >= 4
            assert 0 < item.visible_fraction <= 1
            assert 0 <= item.occluded_fraction < 1
            # What is hidden inside the picture or cut by its edge is not seen.
            assert item.visible_fraction <= 1 - item.occluded_fraction + 1e-9


def test_masks_of_one_frame_are_disjoint() -> None:
    for frame in render_video(MEDIUM, 7, 20, size=SMALL):
        owners = np.sum([o.mask for o in frame.objects], axis=0)
        assert owners.max() == 1


def test_masks_lie_on_what_moves_in_the_picture() -> None:
    still_camera = replace(
        MEDIUM,
        shake_px=0.0,
        noise_sigma=0.0,
        lighting_amplitude=0.0,
        cloud_amplitude=0.0,
        stop_rate_per_s=0.0,
    )
    frames = list(render_video(still_camera, 8, 61, size=(144, 256), fps=2))
    background = np.median([f.image for f in frames], axis=0)
    inside, outside = [], []
    for frame in frames[::6]:
        changed = np.abs(frame.image - background).max(axis=2) > 8
        covered = np.any([o.mask for o in frame.objects], axis=0).astype(np.uint8)
        inside.append(changed[cv2.erode(covered, np.ones((3, 3))) > 0].mean())
        outside.append(changed[cv2.dilate(covered, np.ones((3, 3))) == 0].mean())
    assert np.mean(inside) > 0.8
    assert np.mean(outside) < 0.15  # shadows fall outside the masks


def test_what_happens_does_not_depend_on_the_resolution() -> None:
    large, small = SyntheticWorld(MEDIUM, 9, size=(288, 512)), SyntheticWorld(MEDIUM, 9, size=(144, 256))
    compared = 0
    for _ in range(12):
        a, b = large.step(), {o.track_id: o for o in small.step().objects}
        for item in a.objects:
            if item.visible_fraction > 0.6 and item.height_fraction > 0.1:
                low, high = np.argwhere(b[item.track_id].mask), np.argwhere(item.mask)
                np.testing.assert_allclose(high.mean(axis=0) / 288, low.mean(axis=0) / 144, atol=0.02)
                compared += 1
    assert compared > 20


def test_ids_keep_their_class_and_those_who_left_stay_away() -> None:
    world = SyntheticWorld(MEDIUM, 10, size=(36, 64), fps=2)
    labels: dict[int, str] = {}
    departed: set[int] = set()
    alive: frozenset[int] = frozenset()
    for _ in range(80):
        frame = world.step()
        departed |= alive - world.alive_ids
        alive = world.alive_ids
        for item in frame.objects:
            assert item.track_id in alive - departed
            assert labels.setdefault(item.track_id, item.label) == item.label
    assert len(departed) > 20


def test_an_endless_world_stays_bounded_and_never_gives_an_id_twice() -> None:
    population = populate(10)
    issued = {actor.track_id for actor in population.actors}
    labels = set()
    for _ in range(4000):
        before = {actor.track_id for actor in population.actors}
        population.step(0.4)
        newcomers = {actor.track_id for actor in population.actors} - before
        assert not newcomers & issued
        assert not newcomers or min(newcomers) > max(issued)
        issued |= newcomers
        labels |= {actor.look.label for actor in population.actors}
        assert MEDIUM.objects[0] <= len(population.actors) <= MEDIUM.objects[1]
        reachable = [a for start in population.actors for a in chain_of_leaders(start)]
        assert len(reachable) <= 2 * MEDIUM.objects[1]
    assert len(issued) > 700
    assert labels == set(LABELS)


def populate(seed: int) -> Population:
    rng = np.random.default_rng(seed)
    camera, light = draw_camera(rng, 16 / 9, 0.01), draw_light(rng)
    layout = draw_layout(rng, camera)
    return Population(MEDIUM, camera, light, layout, Exposure(camera, ()), seed)


def chain_of_leaders(actor: Actor) -> list[Actor]:
    """An actor and whom it keeps alive by following: none who has left may be among them."""
    return [actor, *chain_of_leaders(actor.leader)] if actor.leader is not None else [actor]


def test_vehicles_do_not_drive_through_each_other() -> None:
    population = populate(11)
    met = 0
    for _ in range(1500):
        population.step(0.1)
        vehicles = [a for a in population.actors if a.look.label in ("car", "truck")]
        for i, a in enumerate(vehicles):
            for b in vehicles[:i]:
                if in_lane(a, b):
                    met += 1
                    assert abs(a.x_m - b.x_m) > a.look.reach_m + b.look.reach_m - 0.1
    assert met > 50


def test_who_is_hidden_comes_back_with_the_same_id() -> None:
    returned = 0
    for seed in range(2):
        seen: list[set[int]] = [
            {o.track_id for o in f.objects} for f in render_video(MEDIUM, seed, 60, size=SMALL)
        ]
        for track_id in set.union(*seen):
            shown = [k for k, ids in enumerate(seen) if track_id in ids]
            returned += shown[-1] - shown[0] + 1 > len(shown)
    assert returned >= 2
