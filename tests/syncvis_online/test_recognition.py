"""Learned evidence of who is who: what it may not depend on, how it is stored, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from syncvis_online.checkpoint import load_model, save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.errors import DataError, ModelError
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.evidence import RULES
from syncvis_online.identities import UNUSED, Identities, Sightings
from syncvis_online.online import OnlineTracker
from syncvis_online.recognition import CROP, CUES, Recognizer, Views, crop, pair_cues
from syncvis_online.state import TrackerState
from syncvis_online.training.recognition import MORE_ODDS, RecognitionTraining, Recorded, learned
from syncvis_online.training.recorded import Shot, Shown
from syncvis_online.training.telling import by_evidence, by_slots, by_truth, worth
from tests.syncvis_online.models import TINY, pictures, tiny_checkpoint, tiny_model
from tests.syncvis_online.random_sightings import LABELS, random_sightings

LOOKS, VECTORS = 4, TINY.channels + 2 * TINY.mask_channels


def random_recognizer(seed: int = 0) -> Recognizer:
    torch.manual_seed(seed)
    return Recognizer(VECTORS).eval()


def known_after(frames: list[Sightings], scale: float = 1.0, later: float = 0.0) -> Identities:
    """Who is known after some frames, on each of which everybody is somebody new or in the row before."""
    known = Identities.nobody(LOOKS, LABELS, 16)
    for t, seen in enumerate(frames):
        scaled = replace(seen, boxes=seen.boxes * scale)
        rows = np.arange(len(seen.boxes)) if t else np.full(len(seen.boxes), -1)
        known, _ = known.noted(rows, scaled, 1, t / 10 + later, RULES.following)
    return known


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(0, 6),
    st.floats(0.25, 4.0),
    st.floats(-1e3, 1e3),
)
def test_cues_do_not_depend_on_scale_order_or_the_clock(
    seed: int, people: int, n: int, scale: float, later: float
) -> None:
    rng = np.random.default_rng(seed)
    before = [random_sightings(rng, people, LOOKS) for _ in range(3)]
    seen = random_sightings(rng, n, LOOKS)
    known, rows = known_after(before), np.arange(people)
    cues = pair_cues(known, rows, seen, 0.9)
    assert cues.shape == (people, n, len(CUES))
    assert np.isfinite(cues).all()
    of_people, of_objects = rng.permutation(people), rng.permutation(n)
    moved = seen.of(of_objects)
    other = known_after(before, scale, later)
    again = pair_cues(other, of_people, replace(moved, boxes=moved.boxes * scale), 0.9 + later)
    np.testing.assert_allclose(again, cues[of_people][:, of_objects], rtol=1e-3, atol=1e-4)


def test_the_best_other_is_another() -> None:
    rng = np.random.default_rng(3)
    known, seen = known_after([random_sightings(rng, 3, LOOKS)]), random_sightings(rng, 4, LOOKS)
    cues = pair_cues(known, np.arange(3), seen, 0.5)
    distance = cues[..., CUES.index("distance")]
    for i in range(3):
        for j in range(4):
            rivals, others = np.delete(distance[:, j], i), np.delete(distance[i], j)
            said = cues[i, j, [CUES.index("distance_to_rival"), CUES.index("distance_to_other")]]
            np.testing.assert_allclose(
                said, distance[i, j] - [rivals.min(), others.min()], rtol=1e-5, atol=1e-6
            )


def test_a_crop_is_the_rectangle_around_the_mask() -> None:
    picture = np.zeros((40, 60, 3), dtype=np.float32)
    inside = np.zeros((40, 60), dtype=np.bool_)
    inside[4:36, 8:32] = True
    inside[4:20, 8:20] = False
    picture[inside], picture[~inside, 0] = 200.0, 100.0
    small = crop(inside[4:36, 8:32], picture[4:36, 8:32])
    assert small.shape == (*CROP, 4)
    half = CROP[0] // 2, CROP[1] // 2
    assert (small[: half[0], : half[1]] == [100, 0, 0, 0]).all()
    assert (small[half[0] :] == [200, 200, 200, 255]).all()
    one = np.ones((1, 1), dtype=np.bool_)
    assert (crop(one, picture[:1, 59:])[..., 3] == 255).all()


def test_looks_are_unit_vectors_and_each_is_made_by_itself() -> None:
    rng, recognizer = np.random.default_rng(0), random_recognizer()
    views = Views(
        rng.normal(size=(5, VECTORS)).astype(np.float32), rng.integers(0, 256, (5, *CROP, 4)).astype(np.uint8)
    )
    looks = recognizer.looks(views)
    np.testing.assert_allclose(np.linalg.norm(looks, axis=1), 1.0, rtol=1e-5)
    alone = [recognizer.looks(Views(views.vectors[i : i + 1], views.crops[i : i + 1])) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(alone), looks, atol=1e-6)
    assert recognizer.looks(Views(views.vectors[:0], views.crops[:0])).shape == (0, recognizer.channels)


def test_a_checkpoint_brings_its_recognizer_along(tmp_path: Path) -> None:
    path, recognizer = tmp_path / "model.safetensors", random_recognizer()
    save_model(path, tiny_model().float(), TrackerConfig(), {}, torch.float32, recognizer)
    loaded = load_model(str(path)).recognizer
    assert loaded is not None
    assert not loaded.training
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    save_model(path, tiny_model().float(), TrackerConfig(), {})
    assert load_model(str(path)).recognizer is None


def test_a_recognizer_that_is_not_whole_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, tiny_model().float(), TrackerConfig(), {}, torch.float32, random_recognizer())
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    del tensors["recognition.pairs.layers.0.bias"]
    save_file(tensors, path, metadata=header)
    with pytest.raises(ModelError, match=r"1 tensors missing \['recognition\.pairs\.layers\.0\.bias'\]"):
        load_model(str(path))


TRACKER = TrackerConfig(window_frames=2, birth_score=0.0, keep_score=0.0, reidentify_s=2.0)


def test_a_tracker_with_a_recognizer_goes_on_from_its_bytes() -> None:
    tracker = OnlineTracker(replace(tiny_checkpoint(TRACKER), recognizer=random_recognizer()))
    plain = OnlineTracker(tiny_checkpoint(TRACKER))
    images = pictures(8)
    features, size = [tracker.encode(tracker.prepare(image)) for image in images], images[0].shape[:2]
    state = stored = tracker.initial_state()
    answered = 0
    for t in range(1, 8):
        window, times = features[t - 1 : t + 1], [(t - 1) / 10, t / 10]
        stored = TrackerState.from_bytes(stored.to_bytes(), tracker.initial_state())
        whole, again = (tracker.answer(window, times, 1, each, size) for each in (state, stored))
        assert whole.tracks == again.tracks
        state, stored = whole.state, again.state
        answered += len(whole.tracks[0])
    assert answered
    assert state.identities is not None
    assert state.identities.looks.shape[1] == random_recognizer().channels
    data, like = state.to_bytes(), plain.initial_state()
    with pytest.raises(DataError, match=r"identities\.looks"):
        TrackerState.from_bytes(data, like)


def painted_shot(seed: int, frames: int = 60) -> Shot:
    """People of one size, of a shade each, who jump about, so that nothing but their looks tells who is who, and whom
    the slots take for another every third frame.
    """
    rng = np.random.default_rng(seed)
    people = 4
    shades = rng.uniform(30, 225, (people, 3))
    directions = rng.normal(size=(people, VECTORS))
    shown = []
    for t in range(frames):
        centers = rng.uniform(0.1, 0.9, (people, 2))
        crops = np.concatenate([shades, np.full((people, 1), 255.0)], axis=1)[:, None, None]
        noise = rng.normal(0, 8, (people, *CROP, 4)) * [1, 1, 1, 0]
        seen = Sightings(
            boxes=np.concatenate([centers - 0.1, centers + 0.1], axis=1),
            colors=np.full((people, 6), 50.0),
            looks=np.ones((people, LOOKS)),
            labels=np.zeros(people, dtype=np.int64),
            scores=np.full(people, 0.8),
            held=1 + np.roll(np.arange(people), t // 3),
        )
        vectors = directions + rng.normal(0, 0.5, directions.shape)
        views = Views(vectors.astype(np.float32), (crops + noise).clip(0, 255).astype(np.uint8))
        shown.append(Shown(seen, views, np.arange(people)))
    return Shot(10.0, tuple(shown), np.full(people, frames), LABELS)


def test_it_learns_to_tell_people_by_what_they_look_like() -> None:
    training = RecognitionTraining(data=(), appearance_steps=40, pair_steps=150, rounds=2)
    said: list[str] = []
    shots = [painted_shot(seed, 24) for seed in range(4)]
    fresh = [painted_shot(seed) for seed in (100, 101)]
    recognizer = learned(shots, [fresh], training, said.append)
    looks = [[recognizer.looks(frame.views) for frame in shot.frames] for shot in fresh]
    told = [by_evidence(s, recognizer, 4.0, seen) for s, seen in zip(fresh, looks, strict=True)]
    linear = worth(fresh, [by_evidence(s, RULES, 4.0) for s in fresh])["IDF1"]
    slots = worth(fresh, [by_slots(s) for s in fresh])["IDF1"]
    assert worth(fresh, told)["IDF1"] > 0.8 > 2 * max(linear, slots)
    assert worth(fresh, [by_truth(s) for s in fresh])["IDF1"] == 1.0
    assert len(said) == 4 + len(MORE_ODDS)


def test_the_same_seed_learns_the_same() -> None:
    shots = [painted_shot(seed, 12) for seed in range(2)]
    training = RecognitionTraining(data=(), appearance_steps=3, pair_steps=3)
    first, again, other = (
        learned(shots, [], replace(training, seed=seed), lambda _: None).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_videos_in_which_nothing_is_found_teach_nothing() -> None:
    seldom = painted_shot(0, frames=2)
    with pytest.raises(DataError, match="no video in which two objects are found"):
        learned([seldom], [], RecognitionTraining(data=()), print)


def test_a_recorded_video_is_kept_and_one_that_is_damaged_is_tracked_again(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    checkpoint = tiny_checkpoint(TRACKER)
    save_model(model, checkpoint.model.float(), TRACKER, {}, torch.float32)
    spec = "synthetic:easy?seeds=3&frames=3&fps=5"
    (made,) = Recorded(model, tmp_path / "videos", 4.0).shots(spec)
    assert made.fps == 5.0
    assert len(made.frames) == 3
    assert sum(len(frame.truth) for frame in made.frames) > 0
    (path,) = (tmp_path / "videos").iterdir()
    (kept,) = Recorded(model, tmp_path / "videos", 4.0).shots(spec)
    for a, b in zip(made.frames, kept.frames, strict=True):
        np.testing.assert_array_equal(a.truth, b.truth)
        np.testing.assert_array_equal(a.views.crops, b.views.crops)
        np.testing.assert_array_equal(a.views.vectors, b.views.vectors)
        np.testing.assert_array_equal(a.sightings.boxes, b.sightings.boxes)
    path.write_bytes(path.read_bytes()[:1000])
    assert Shot.load(path) is None
    (again,) = Recorded(model, tmp_path / "videos", 4.0).shots(spec)
    np.testing.assert_array_equal(again.frames[-1].views.crops, made.frames[-1].views.crops)


def test_a_recorder_sees_what_a_tracker_does(tmp_path: Path) -> None:
    """Looks made of a recorded video are those that a tracker with the recognizer has on its first frame."""
    checkpoint, recognizer = tiny_checkpoint(TRACKER), random_recognizer()
    model = tmp_path / "model.safetensors"
    save_model(model, checkpoint.model.float(), TRACKER, {}, torch.float32, recognizer)
    spec = "synthetic:easy?seeds=4&frames=1"
    (shot,) = Recorded(model, tmp_path, 4.0).shots(spec)
    tracker = OnlineTracker(load_model(str(model)), TRACKER)
    (video,) = open_videos(spec)
    (image,) = video.frames()
    answer = tracker.answer(
        [tracker.encode(tracker.prepare(image))], [0.0], 1, tracker.initial_state(), image.shape[:2]
    )
    identities = answer.state.identities
    assert identities is not None
    seen = identities.newest_looks[identities.ids != UNUSED]
    assert len(seen) == len(shot.frames[0].truth) > 0
    looks = recognizer.looks(shot.frames[0].views)
    np.testing.assert_allclose(np.sort(seen, axis=0), np.sort(looks, axis=0), atol=1e-4)
