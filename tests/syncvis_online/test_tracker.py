"""The life of a slot: born, seen, lost, taken up again, retired; ids that are never given twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncvis_online.candidates import Candidates
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.features import FrameFeatures
from syncvis_online.masks import disjoint_masks, tracks_of
from syncvis_online.state import TrackerState
from syncvis_online.tracker import Detection, SlotTracker
from syncvis_online.types import LABELS, decode_mask
from tests.syncvis_online.models import TINY, tiny_model

CONFIG = TrackerConfig(
    window_frames=1, birth_score=0.5, keep_score=0.3, max_lost_s=1.0, reidentify_s=0.0, min_area=2
)
SLOTS, CELLS = TINY.queries, 40


@dataclass(frozen=True)
class Seen:
    """What one slot says: a score, a class and the columns of its mask, which have a color (RGB) in the picture."""

    score: float
    label: int = 0
    columns: tuple[int, ...] = (0, 1)
    logit: float = 30.0
    color: tuple[float, float, float] = (128.0, 128.0, 128.0)


class World:
    """Feeds a tracker with what slots are made to say; each slot's v after a window is told by its number."""

    def __init__(self, config: TrackerConfig = CONFIG) -> None:
        # Mask features of one channel a cell: an embedding is a mask, written out.
        self.tracker = SlotTracker(tiny_model(config=replace(TINY, mask_channels=CELLS)), config)
        self.state: TrackerState = self.tracker.initial_state()
        self.learned = self.state.queries.clone()
        self.windows = 0

    def say(self, now_s: float, slots: dict[int, Seen]) -> dict[int, Detection]:
        """One window of one frame; detections by track id."""
        self.windows += 1
        self.state = self.tracker.retire(self.state, now_s)
        logits = torch.full((1, SLOTS, len(LABELS) + 1), -30.0, dtype=torch.float64)
        logits[..., -1] = 30.0
        embeds = torch.zeros(1, SLOTS, CELLS, dtype=torch.float64)
        for slot, seen in slots.items():
            logits[0, slot] = float("-inf")
            logits[0, slot, seen.label] = np.log(seen.score)
            logits[0, slot, -1] = np.log(1 - seen.score)
            embeds[0, slot] = -30.0
            embeds[0, slot, list(seen.columns)] = seen.logit
        maps = torch.eye(CELLS, dtype=torch.float64).view(1, CELLS, 1, CELLS).expand(1, CELLS, 2, CELLS)
        picture = torch.full((1, 3, 2, CELLS), 128, dtype=torch.uint8)
        for seen in slots.values():
            picture[..., list(seen.columns)] = torch.tensor(seen.color, dtype=torch.uint8)[:, None, None]
        frame = FrameFeatures((), (), maps, (), picture)
        after = torch.full((1, SLOTS, TINY.channels), float(self.windows), dtype=torch.float64)
        prediction = BranchPrediction(logits, embeds)
        output = DecoderOutput((LayerPrediction(prediction, prediction),), after)
        before = self.state
        frozen = (before.queries.clone(), before.track_ids.copy(), before.last_seen_s.copy())
        answered, self.state = self.tracker.update([frame], output, 0, [now_s], 1, before)
        assert torch.equal(before.queries, frozen[0]), "a state is a value"
        assert (before.track_ids == frozen[1]).all()
        assert (before.last_seen_s == frozen[2]).all()
        return {d.track_id: d for d in answered[0]}


def test_a_confident_free_slot_begins_a_track_and_keeps_its_id() -> None:
    world = World()
    assert world.say(0.0, {3: Seen(0.45)}) == {}
    assert set(world.say(0.1, {3: Seen(0.9, label=2)})) == {1}
    again = world.say(0.2, {3: Seen(0.35, label=2)})
    assert set(again) == {1}, "kept above keep_score, below birth_score"
    assert again[1].label == 2
    np.testing.assert_allclose(again[1].score, 0.35, rtol=1e-3)


def test_a_slot_is_carried_when_seen_and_frozen_when_lost() -> None:
    world = World()
    world.say(0.0, {3: Seen(0.9)})
    assert (world.state.queries[3] == 1.0).all(), "p is v after the window"
    assert torch.equal(world.state.queries[4], world.learned[4]), "a free slot stays the learned query"
    world.say(0.1, {3: Seen(0.1)})
    assert (world.state.queries[3] == 1.0).all(), "frozen at the last window in which it was seen"
    assert set(world.say(0.9, {3: Seen(0.9)})) == {1}, "takes its identity up again"


def test_a_track_lost_for_too_long_is_retired_reset_and_its_id_never_given_again() -> None:
    world = World()
    world.say(0.0, {3: Seen(0.9)})
    world.say(1.0, {})
    assert world.state.track_ids[3] == 1
    world.say(1.01, {})
    assert world.state.track_ids[3] == 0
    assert torch.equal(world.state.queries[3], world.learned[3])
    assert set(world.say(1.1, {3: Seen(0.9)})) == {2}


def test_a_slot_that_was_held_too_long_is_free_before_the_next_window_is_decoded() -> None:
    """After a long silence no window starts from the query of an identity that is gone."""
    world = World()
    world.say(0.0, {3: Seen(0.9)})
    world.say(0.5, {})
    state = world.tracker.retire(world.state, 100.0)
    assert torch.equal(state.queries, world.learned)
    assert not state.confirmed.any()


@pytest.mark.parametrize("interval_s", [0.03, 0.2, 0.9, 3.0])
def test_an_object_in_sight_keeps_its_id_at_every_frame_rate(interval_s: float) -> None:
    """Also where frames are farther apart than a lost one may wait; one miss is as much as it is at any pace."""
    world = World(replace(CONFIG, max_lost_s=0.15))
    for i in range(5):
        assert set(world.say(i * interval_s, {3: Seen(0.9)})) == {1}
    world.say(5 * interval_s, {})
    again = set(world.say(6 * interval_s, {3: Seen(0.9)}))
    assert again == ({1} if 2 * interval_s <= 0.15 else {2})


def test_what_was_seen_before_a_break_is_retired_after_it() -> None:
    world = World()
    world.say(0.0, {3: Seen(0.9)})
    assert world.tracker.retire(world.state, 100.0).confirmed[3]
    state = world.tracker.retire(world.state, 100.0, broken=True)
    assert not state.held.any()
    assert torch.equal(state.queries, world.learned)
    assert world.tracker.retire(world.state, 0.9, broken=True).confirmed[3], "it was short"


def test_a_clock_that_steps_back_lengthens_no_life() -> None:
    world = World()
    world.say(3600.0, {3: Seen(0.9)})
    world.say(0.0, {})
    world.say(1.01, {})
    assert not world.state.confirmed.any()


def test_an_empty_mask_is_not_seen() -> None:
    """No ghosts: a confident class without a mask on the frame is not answered, and does not keep it alive."""
    world = World()
    world.say(0.0, {3: Seen(0.9)})
    assert world.say(0.5, {3: Seen(0.9, columns=())}) == {}
    assert world.state.last_seen_s[3] == 0.0


def test_what_is_wholly_behind_another_is_lost_not_seen() -> None:
    """Its mask would be answered with no pixel; it keeps the query from when it was last in sight."""
    world = World()
    world.say(0.0, {3: Seen(0.9, columns=(0, 1)), 5: Seen(0.9, columns=(4, 5))})
    bus = Seen(0.9, columns=(0, 1, 2, 3, 4, 5, 6))
    assert set(world.say(0.1, {3: Seen(0.9, columns=(0, 1), logit=20.0), 5: bus})) == {2}
    assert world.state.last_seen_s[3] == 0.0
    assert (world.state.queries[3] == 1.0).all()
    assert set(world.say(0.2, {3: Seen(0.9, columns=(0, 1), logit=40.0), 5: bus})) == {1, 2}


def test_a_duplicate_is_not_born_and_the_better_of_two_tracks_is_answered() -> None:
    world = World()
    world.say(0.0, {3: Seen(0.9, columns=(0, 1, 2, 3))})
    assert set(
        world.say(0.1, {3: Seen(0.8, columns=(0, 1, 2, 3)), 5: Seen(0.99, columns=(0, 1, 2, 3, 4))})
    ) == {1}
    assert set(world.say(0.2, {3: Seen(0.8), 5: Seen(0.9, columns=(8, 9))})) == {1, 2}
    assert set(world.say(0.3, {3: Seen(0.8), 5: Seen(0.9)})) == {2}


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_a_new_track_is_tentative_for_the_same_time_at_every_frame_rate(fps: float) -> None:
    world = World(replace(CONFIG, tentative_s=0.4))
    frames = round(fps)
    answered = [set(world.say(i / fps, {3: Seen(0.9)})) for i in range(frames + 1)]
    first = answered.index({1})
    assert first / fps == pytest.approx(0.4, abs=1e-6)
    assert answered == [set()] * first + [{1}] * (frames + 1 - first)
    assert world.state.born_s[3] == 0.0, "its age counts from when it was first seen"


def test_a_tentative_track_is_followed_and_one_miss_ends_it() -> None:
    world = World(replace(CONFIG, tentative_s=0.2))
    world.say(0.0, {3: Seen(0.9)})
    assert world.state.tentative[3]
    assert (world.state.queries[3] == 1.0).all(), "carried like any other"
    world.say(0.1, {3: Seen(0.45)})
    assert not world.state.held[3], "it must be as confident as at its birth"
    assert torch.equal(world.state.queries[3], world.learned[3])
    for now, ids in ((0.2, set()), (0.3, set()), (0.4, {1})):
        assert set(world.say(now, {3: Seen(0.9)})) == ids


def test_a_track_says_how_old_it_is_and_coasts_for_a_while() -> None:
    world = World(replace(CONFIG, coast_s=0.3))
    assert world.say(0.0, {3: Seen(0.9, label=2, columns=(10, 11))})[1].age_s == 0.0
    assert world.say(0.5, {3: Seen(0.8, label=2, columns=(10, 19))})[1].age_s == 0.5
    lost = world.say(0.7, {})[1]
    assert lost.logits is None
    assert (lost.label, lost.age_s) == (2, 0.7)
    assert lost.score == pytest.approx(0.8)
    assert lost.box == pytest.approx((10 / CELLS, 0.0, 20 / CELLS, 1.0))
    (track,) = tracks_of([lost], (20, 2 * CELLS), LABELS)
    assert (track.state, track.seen, track.label, track.age_s) == ("lost", False, "car", 0.7)
    assert track.box_xyxy == pytest.approx((20.0, 0.0, 40.0, 20.0))
    assert not decode_mask(track.mask).any()
    assert world.say(0.81, {}) == {}
    assert world.say(0.9, {3: Seen(0.9)})[1].logits is not None, "the same again"


def test_the_longest_lost_make_room_and_running_out_is_counted() -> None:
    world = World(replace(CONFIG, spare_slots=2, max_lost_s=100.0))
    everything = {s: Seen(0.9, columns=(2 * s, 2 * s + 1)) for s in range(SLOTS)}
    world.say(0.0, {s: everything[s] for s in range(SLOTS - 1)})
    assert world.state.out_of_slots == 0
    world.say(0.1, {s: everything[s] for s in range(1, SLOTS - 1)})  # 0 is lost
    world.say(0.2, {s: everything[s] for s in range(3, SLOTS - 1)})  # 1 and 2 too
    assert not world.state.held[0], "one free slot was too few: the longest lost was given back"
    world.say(0.3, {s: everything[s] for s in range(3, SLOTS - 1)})
    assert world.state.held[[1, 2]].all(), "two are free: nobody else has to go"
    world.say(0.4, everything)
    assert world.state.out_of_slots == 1
    assert world.state.next_id == SLOTS + 2, "slot 0 came back with a new id, 1 and 2 with their own"
    assert len(world.say(0.5, everything)) == SLOTS, "what is in sight is never given up"
    assert world.state.out_of_slots == 2


@given(
    st.lists(st.dictionaries(st.integers(0, SLOTS - 1), st.floats(0.01, 0.99), max_size=5), max_size=30),
    st.data(),
)
@settings(deadline=None, max_examples=40)
def test_ids_only_grow_and_are_never_reused(windows: list[dict[int, float]], data: st.DataObject) -> None:
    world, now, last_seen, owner = World(), 0.0, {}, {}
    for slots in windows:
        now += data.draw(st.floats(0.05, 0.8))
        said = {s: Seen(score, columns=(2 * s, 2 * s + 1)) for s, score in slots.items()}
        for track_id, detection in world.say(now, said).items():
            column = int(np.flatnonzero(detection.logits[0] > 0)[0])
            assert owner.setdefault(track_id, column) == column, "one id, one object"
            assert now - last_seen.get(track_id, now) <= CONFIG.max_lost_s + 1e-9
            last_seen[track_id] = now
        assert set(last_seen) == set(range(1, world.state.next_id))


def test_masks_of_a_frame_are_disjoint_and_the_stronger_wins() -> None:
    weak, strong = np.full((4, 6), -9.0, np.float32), np.full((4, 6), -9.0, np.float32)
    weak[:, :4], strong[:, 3:] = 1.0, 8.0
    first, second = disjoint_masks([Detection(1, 0, 0.9, weak), Detection(2, 0, 0.5, strong)], (16, 24))
    assert not (first & second).any()
    assert second[:, 14:].all()
    assert first[:, :11].all()


def test_tracks_are_ordered_and_boxes_are_tight() -> None:
    a, b = np.full((4, 4), -5.0, np.float32), np.full((4, 4), -5.0, np.float32)
    a[:2, :2], b[2:, 2:] = 5.0, 5.0
    tracks = tracks_of([Detection(7, 1, 0.5, a), Detection(2, 0, 0.6, b)], (8, 8), LABELS)
    assert [t.track_id for t in tracks] == [2, 7]
    assert tracks[1].label == "bicycle"
    for track in tracks:
        mask = decode_mask(track.mask)
        x0, y0, x1, y1 = map(int, track.box_xyxy)
        inside = mask[y0:y1, x0:x1]
        assert mask.sum() == inside.sum() > 0
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_a_mask_that_is_wholly_covered_is_not_answered() -> None:
    weak, strong = np.full((4, 4), 1.0, np.float32), np.full((4, 4), 8.0, np.float32)
    assert [
        t.track_id
        for t in tracks_of([Detection(1, 0, 0.9, weak), Detection(2, 0, 0.5, strong)], (8, 8), LABELS)
    ] == [2]


@pytest.mark.parametrize("interval_s", [0.03, 0.3, 1.0, 5.0])
def test_an_object_in_sight_is_recognized_at_every_frame_rate(interval_s: float) -> None:
    """Also one that was seen once only, where the next frame comes when a glimpse would be forgotten."""
    world = World(RECOGNIZING)
    for i in range(5):
        assert set(world.say(i * interval_s, {3: Seen(0.9, color=RED)})) == {1}


def test_a_break_in_which_too_much_time_passed_forgets_who_was_known() -> None:
    world = World(RECOGNIZING)
    for i in range(4):
        world.say(0.1 * i, {3: Seen(0.9, color=RED)})
    for pause_s, ids in ((1.0, {1}), (3.0, {2})):
        after = World(RECOGNIZING)
        after.state = world.tracker.retire(world.state, 0.3 + pause_s, broken=True)
        assert set(after.say(0.3 + pause_s, {3: Seen(0.9, color=RED)})) == ids


RED, BLUE = (200.0, 30.0, 30.0), (30.0, 30.0, 200.0)
RECOGNIZING = replace(CONFIG, max_lost_s=0.15, reidentify_s=2.0)


def test_who_comes_back_in_another_slot_has_its_identity_and_its_age() -> None:
    world = World(RECOGNIZING)
    for i in range(5):
        told = world.say(0.1 * i, {3: Seen(0.9, columns=(4 + i, 5 + i), color=RED)})
    assert set(told) == {1}
    for i in range(5, 13):
        assert world.say(0.1 * i, {}) == {}
    assert not world.state.held.any(), "its slot was given back"
    told = world.say(
        1.3, {5: Seen(0.9, columns=(17, 18), color=RED), 3: Seen(0.9, columns=(30, 31), color=BLUE)}
    )
    assert told[1].logits is not None
    assert set(np.flatnonzero(told[1].logits[0] > 0)) == {17, 18}
    np.testing.assert_allclose(told[1].age_s, 1.3)
    assert set(told) == {1, 2}, "what stands in its old slot is somebody else"


def test_after_reidentify_s_an_identity_is_gone_for_ever() -> None:
    for away, expected in ((1.9, {1}), (2.2, {2})):
        world = World(RECOGNIZING)
        for i in range(4):
            world.say(0.1 * i - 0.3, {3: Seen(0.9, color=RED)})
        world.say(1.0, {})
        assert set(world.say(away, {3: Seen(0.9, color=RED)})) == expected
    assert RECOGNIZING.forgotten_s == 2.0


def test_identities_that_change_slots_where_objects_cross_stay_with_the_objects() -> None:
    """A carried query changes over to the other object, as it does where look-alikes cross."""
    world = World(RECOGNIZING)
    for i in range(6):
        world.say(
            0.1 * i,
            {
                2: Seen(0.9, columns=(4 + 2 * i, 5 + 2 * i), color=RED),
                7: Seen(0.9, columns=(26 - 2 * i, 27 - 2 * i), color=BLUE),
            },
        )
    told = world.say(
        0.6, {7: Seen(0.9, columns=(17, 18), color=RED), 2: Seen(0.9, columns=(13, 14), color=BLUE)}
    )
    assert set(told) == {1, 2}
    assert {1: world.state.track_ids[7], 2: world.state.track_ids[2]} == {1: 1, 2: 2}


def test_a_lost_slot_whose_identity_is_seen_in_another_one_is_free() -> None:
    world = World(RECOGNIZING)
    world.say(0.0, {2: Seen(0.9, color=RED)})
    assert set(world.say(0.1, {4: Seen(0.9, color=RED)})) == {1}
    assert world.state.track_ids[4] == 1
    assert not world.state.held[2]
    assert torch.equal(world.state.queries[2], world.learned[2])


@pytest.mark.parametrize("stride", [2, 4])
def test_what_is_cut_out_are_the_mean_colors_of_the_cells(stride: int) -> None:
    generator = torch.Generator().manual_seed(stride)
    picture = torch.randint(0, 256, (1, 3, 8 * stride, 12 * stride), dtype=torch.uint8, generator=generator)
    maps = torch.ones(1, 1, 8, 12)
    found = Candidates.of(np.ones((1, 1), dtype=np.float32), torch.ones(1, 1), maps[0], 0.0, 1)
    ((inside, cells),) = SlotTracker._cut_outs(found, FrameFeatures((), (), maps, (), picture), [0])
    assert inside.all()
    wanted = torch.nn.functional.avg_pool2d(picture[0].float(), stride).permute(1, 2, 0)
    np.testing.assert_array_equal(cells, wanted.numpy())


def test_features_without_the_picture_are_refused_where_identities_are_recognized() -> None:
    world = World(RECOGNIZING)
    maps = torch.zeros(1, CELLS, 2, CELLS, dtype=torch.float64)
    logits = torch.zeros(1, SLOTS, len(LABELS) + 1, dtype=torch.float64)
    prediction = BranchPrediction(logits, torch.zeros(1, SLOTS, CELLS, dtype=torch.float64))
    output = DecoderOutput((LayerPrediction(prediction, prediction),), world.state.queries[None])
    with pytest.raises(ValueError, match="the picture"):
        world.tracker.update([FrameFeatures((), (), maps, ())], output, 0, [0.0], 1, world.state)
