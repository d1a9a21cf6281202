"""Who is who: by motion and looks, one to one, whatever the scale, the order and the clock."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncvis_online.evidence import RULES
from syncvis_online.identities import NONE, UNUSED, Identities, Sightings, mask_colors
from tests.syncvis_online.random_sightings import LABELS, random_sightings

CHANNELS = 8
RED, BLUE, GREEN = (100.0, 60.0, 40.0) * 2, (80.0, 40.0, -80.0) * 2, (220.0, -80.0, 70.0) * 2


def sightings(*objects: tuple[float, float, tuple[float, ...]], height: float = 0.2) -> Sightings:
    """Objects by the centre and the colours of each; all of one size and class, with one query."""
    n = len(objects)
    centers = np.array([[x, y] for x, y, _ in objects]).reshape(n, 2)
    half = np.array([height / 4, height / 2])
    return Sightings(
        boxes=np.concatenate([centers - half, centers + half], axis=1),
        colors=np.array([color for *_, color in objects]).reshape(n, 6),
        looks=np.ones((n, CHANNELS)),
        labels=np.zeros(n, dtype=np.int64),
        scores=np.full(n, 0.8),
        held=np.full(n, UNUSED, dtype=np.int64),
    )


def tell(known: Identities, seen: Sightings, now_s: float) -> tuple[Identities, list[int]]:
    """A frame more, and the id of each of its objects."""
    next_id = int(known.ids.max()) + 1
    rows = known.match(seen, now_s, RULES)
    after, rows = known.noted(rows, seen, next_id, now_s, RULES.following)
    return after, after.ids[rows].tolist()


def nobody(capacity: int = 16) -> Identities:
    return Identities.nobody(CHANNELS, LABELS, capacity)


@pytest.mark.parametrize("fps", [5.0, 30.0])
def test_who_walks_behind_something_is_known_again_by_its_pace_and_its_looks(fps: float) -> None:
    known = nobody()
    for i in range(int(fps)):
        t = i / fps
        known, ids = tell(known, sightings((0.2 + 0.3 * t, 0.5, RED), (1.4 - 0.3 * t, 0.5, BLUE)), t)
        assert ids == [1, 2]
    assert tell(known, sightings((0.8, 0.5, RED)), 2.0)[1] == [1]
    assert tell(known, sightings((0.8, 0.5, BLUE)), 2.0)[1] == [2], "each from its own side"
    assert tell(known, sightings((0.8, 0.5, GREEN)), 2.0)[1] == [3], "none of them"


def test_of_two_that_look_alike_each_is_where_its_pace_has_brought_it() -> None:
    known = nobody()
    for i in range(10):
        t = i / 10
        known, ids = tell(known, sightings((0.3 + 0.5 * t, 0.5, RED), (0.3 + 0.5 * t, 0.8, RED)), t)
    assert ids == [1, 2]
    assert tell(known, sightings((1.05, 0.8, RED), (1.05, 0.5, RED)), 1.5)[1] == [2, 1]


def test_a_slot_tells_apart_what_nothing_else_does() -> None:
    known, _ = tell(nobody(), sightings((0.5, 0.5, RED), (0.56, 0.5, RED)), 0.0)
    both = sightings((0.53, 0.5, RED), (0.53, 0.5, RED))
    for held in ([1, 2], [2, 1]):
        assert tell(known, replace(both, held=np.array(held)), 0.1)[1] == held


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int]:
    return draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))


@settings(deadline=None)
@given(scenes())
def test_ids_only_grow_and_no_two_objects_share_one(scene: tuple[int, int]) -> None:
    rng, most = np.random.default_rng(scene[0]), scene[1]
    known, newest, given_ids = nobody(8), 0, set()
    for t in range(30):
        before = known.ids.copy()
        known, ids = tell(known, random_sightings(rng, int(rng.integers(0, most + 1)), CHANNELS), t / 5)
        assert len(set(ids)) == len(ids)
        fresh = [i for i in ids if i not in before]
        assert all(i > newest for i in fresh), "who was forgotten never comes back"
        given_ids.update(ids)
        newest = max(given_ids, default=0)
        in_use = known.ids[known.ids != UNUSED]
        assert len(set(in_use.tolist())) == len(in_use) <= 8
        assert all(
            np.isfinite(getattr(known, name)).all() for name in ("velocities", "sizes", "colors", "votes")
        )


@settings(deadline=None)
@given(scenes(), st.floats(0.25, 4.0), st.floats(-1e4, 1e4))
def test_neither_scale_nor_order_nor_the_clock_changes_who_is_who(
    scene: tuple[int, int], scale: float, later: float
) -> None:
    rng = np.random.default_rng(scene[0])
    known = other = nobody()
    for t in range(8):
        seen = random_sightings(rng, int(rng.integers(0, scene[1] + 1)), CHANNELS)
        order = rng.permutation(len(seen.boxes))
        moved = replace(seen.of(order), boxes=seen.boxes[order] * scale)
        rows, same = known.match(seen, t / 10, RULES), other.match(moved, t / 10 + later, RULES)
        assert rows[order].tolist() == same.tolist()
        # Told in one order: who is new gets its row by it.
        known, _ = known.noted(rows, seen, int(known.ids.max()) + 1, t / 10, RULES.following)
        scaled = replace(seen, boxes=seen.boxes * scale)
        other, _ = other.noted(rows, scaled, int(other.ids.max()) + 1, t / 10 + later, RULES.following)


def test_a_full_house_forgets_who_was_away_for_longest() -> None:
    known = nobody(3)
    for t, color in enumerate((GREEN, BLUE, RED, GREEN)):
        known, ids = tell(known, sightings((2.0 * t, 0.5, color)), 1.0 * t)
        assert ids == [t + 1]
    assert sorted(known.ids.tolist()) == [2, 3, 4]
    there = sightings((4.0, 0.5, RED))
    assert known.ids[known.match(there, 3.1, RULES)].tolist() == [3]
    assert (nobody(3).match(there, 3.1, RULES) == NONE).all()


def test_a_glimpse_is_forgotten_sooner() -> None:
    known, _ = tell(nobody(), sightings((0.5, 0.5, RED)), 0.0)
    for t in (0.0, 0.1, 0.2):
        known, _ = tell(known, sightings((0.5, 0.5, RED), *[(1.5, 0.5, BLUE)] * (t == 0.2)), t)
    assert set(known.remembered(0.4, 2.0, 0.3).ids.tolist()) == {1, 2, UNUSED}
    assert set(known.remembered(0.6, 2.0, 0.5).ids.tolist()) == {1, UNUSED}
    assert set(known.remembered(2.3, 2.0, 2.2).ids.tolist()) == {UNUSED}
    slow = known.remembered(9.0, 2.0, 0.2)
    assert set(slow.ids.tolist()) == {1, 2, UNUSED}, "both were on the newest frame: nobody was missed"


def test_a_pause_that_does_not_count_leaves_everybody_where_they_were() -> None:
    known, _ = tell(nobody(), sightings((0.5, 0.5, RED)), 0.0)
    assert known.later_than(100.0).match(sightings((0.5, 0.5, RED)), 100.1, RULES).tolist() == [0]
    assert known.no_later_than(-5.0).seen_s.max() == -5.0


def test_colors_are_those_of_the_halves_of_a_mask() -> None:
    picture = np.zeros((4, 2, 3), dtype=np.float32)
    picture[:2, :, 0], picture[2:, :, 2] = 255.0, 255.0
    inside = np.ones((4, 2), dtype=np.bool_)
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    expected = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float64)[0] - [0, 128, 128]
    alone = np.ones((1, 1), dtype=np.bool_)
    both, one = mask_colors([(inside, picture), (alone, picture[:1, :1])]).reshape(2, 2, 3)
    np.testing.assert_allclose(both, expected, atol=1.0)
    np.testing.assert_allclose(one, expected[[0, 0]], atol=1.0)
    assert mask_colors([]).shape == (0, 6)
