"""Streaming gives what a plain reference gives that encodes all frames at once and knows no cache and no windows
code of ours: each window is cut out of one batch of features. The life of a slot is shared with what is tested;
test_tracker.py holds it to its rules by itself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from stream.engine import TrackerEngine
from stream.types import Frame
from stream.window import RollingWindows
from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import TrackerConfig
from syncvis_online.features import FrameFeatures
from syncvis_online.masks import tracks_of
from syncvis_online.online import OnlineTracker
from syncvis_online.types import decode_mask
from tests.syncvis_online.models import TINY, pictures, tiny_checkpoint, tiny_model

FPS = 10.0
TRACKER = TrackerConfig(
    window_frames=3,
    stride=1,
    birth_score=0.05,
    keep_score=0.04,
    max_lost_s=0.35,
    duplicate_iou=0.9,
    min_area=1,
)


def reference(
    tracker: OnlineTracker, images: list[np.ndarray]
) -> tuple[list[dict[int, str]], list[torch.Tensor]]:
    """Ids (with their masks) and final class logits of each window, the long way round."""
    config, slots, model = tracker.config, tracker.slots, tracker.model
    with torch.inference_mode():
        prepared = torch.cat([tracker.prepare(image) for image in images])
        everything = model.encode(prepared)
        everything = replace(everything, picture=prepared)
    state, ids, logits = slots.initial_state(), [], []
    for last in range(config.stride - 1, len(images), config.stride):
        frames = list(range(max(0, last - config.window_frames + 1), last + 1))
        state = slots.retire(state, last / FPS)
        window: FrameFeatures = everything.windows(torch.tensor([frames]))
        with torch.inference_mode():
            first = state.queries + model.propagate(state.queries)
            if model.memory and state.memory:
                first = first + model.memory.read(state.queries, state.memory.view())
            output = model.decode(window, first[None])
        answers = min(config.stride, len(frames))
        apart = [everything.windows(torch.tensor([f])) for f in frames]
        detections, state = slots.update(apart, output, 0, [f / FPS for f in frames], answers, state)
        logits.append(output.layers[-1].video.logits[0])
        for found in detections:
            tracks = tracks_of(found, images[0].shape[:2], tracker.labels)
            ids.append({t.track_id: t.mask["counts"] for t in tracks})
    return ids, logits


@pytest.mark.parametrize(
    ("window_frames", "stride", "memory_entries"),
    [(1, 1, 0), (2, 1, 0), (3, 1, 0), (3, 3, 0), (3, 2, 0), (2, 1, 3), (3, 2, 3)],
)
def test_streaming_equals_the_reference(window_frames: int, stride: int, memory_entries: int) -> None:
    config = replace(TRACKER, window_frames=window_frames, stride=stride, memory_interval_s=0.2)
    images = pictures(12)
    checkpoint = Checkpoint(tiny_model(0, replace(TINY, memory_entries=memory_entries)), config, {})
    if checkpoint.model.memory:
        torch.nn.init.normal_(checkpoint.model.memory.value.weight, std=0.3)
    tracker = OnlineTracker(checkpoint)
    wanted, _ = reference(tracker, images)
    got = [{t.track_id: t.mask["counts"] for t in f.tracks} for f in tracker.track_video(images, FPS)]
    assert got == wanted
    assert sum(len(frame) for frame in got) >= 8, "a test of trackers that see nothing would prove nothing"


def test_the_engine_equals_the_reference_to_1e_5_on_logits() -> None:
    """The live path: the pipeline's windows and the engine's cache, logits compared at every window."""
    images = pictures(12, seed=3)
    tracker = OnlineTracker(tiny_checkpoint(TRACKER, seed=2))
    wanted_ids, wanted_logits = reference(tracker, images)
    seen: list[torch.Tensor] = []
    decode = tracker.slots.decode

    def recording(*args):  # type: ignore[no-untyped-def]
        output = decode(*args)
        seen.append(output.layers[-1].video.logits[0])
        return output

    tracker.slots.decode = recording  # type: ignore[method-assign]
    engine, windows, ids = TrackerEngine(tracker), RollingWindows(3, 1, max_gap_s=1.0), []
    for i, image in enumerate(images):
        window = windows.push(Frame("a", i, i, Fraction(1, 10), i / FPS, image))
        assert window is not None
        for answered in engine.process(window).frames:
            assert answered.seq == i
            ids.append({t.track_id: t.mask["counts"] for t in answered.tracks})
    assert ids == wanted_ids
    worst = max(float((a - b).abs().max()) for a, b in zip(seen, wanted_logits, strict=True))
    assert worst < 1e-5
    assert sum(map(len, ids)) >= 12


def test_each_frame_is_encoded_once_and_nothing_is_kept_for_long() -> None:
    tracker = OnlineTracker(tiny_checkpoint(TRACKER))
    encoded = []
    encode = tracker.encode

    def counting(prepared: torch.Tensor) -> FrameFeatures:
        encoded.append(prepared)
        return encode(prepared)

    tracker.encode = counting  # type: ignore[method-assign]
    engine, windows = TrackerEngine(tracker), RollingWindows(3, 1, max_gap_s=1.0)
    for i, image in enumerate(pictures(10)):
        window = windows.push(Frame("a", i, i, Fraction(1, 10), i / FPS, image))
        assert window is not None
        engine.process(window)
        assert len(engine._features["a"]) <= 3
    assert len(encoded) == 10


def test_frames_after_which_no_slot_was_left_are_counted() -> None:
    """The only slot of a tracker that takes anything for an object is taken at once."""
    model = tiny_model(config=replace(TINY, queries=1, synchronize_top_k=1))
    greedy = replace(TRACKER, birth_score=0.0, keep_score=0.0, duplicate_iou=1.0, min_area=1, spare_slots=0)
    counts = []
    for config in (greedy, replace(greedy, birth_score=1.0)):
        engine, windows = TrackerEngine(OnlineTracker(Checkpoint(model, config, {}))), RollingWindows(3, 1)
        answers = []
        for i, image in enumerate(pictures(4)):
            window = windows.push(Frame("a", i, i, Fraction(1, 10), i / FPS, image))
            assert window is not None
            answers.append(engine.process(window).out_of_slots)
        assert sum(answers) == engine._cameras["a"].state.out_of_slots
        counts.append(sum(answers))
    assert counts[0] > counts[1] == 0


def test_cameras_do_not_share_state() -> None:
    """Two cameras through one engine give what each gives alone."""
    clips = {"a": pictures(6, seed=1), "b": pictures(6, seed=2)}

    def run(cameras: list[str]) -> dict[str, list[tuple]]:
        engine = TrackerEngine(OnlineTracker(tiny_checkpoint(TRACKER)))
        windows = {c: RollingWindows(3, 1, max_gap_s=1.0) for c in cameras}
        out: dict[str, list[tuple]] = {c: [] for c in cameras}
        for i in range(6):
            for c in cameras:
                window = windows[c].push(Frame(c, i, i, Fraction(1, 10), i / FPS, clips[c][i]))
                assert window is not None
                out[c] += [
                    tuple((t.track_id, t.mask["counts"]) for t in f.tracks)
                    for f in engine.process(window).frames
                ]
        return out

    together = run(["a", "b"])
    assert together == {**run(["a"]), **run(["b"])}


@pytest.mark.parametrize("memory_entries", [0, 3])
def test_windows_answered_at_once_give_what_each_gives_alone(memory_entries: int) -> None:
    """Cameras that join at different times, one with larger pictures, one with a break."""
    checkpoint = Checkpoint(tiny_model(2, replace(TINY, memory_entries=memory_entries)), TRACKER, {})
    if checkpoint.model.memory:
        torch.nn.init.normal_(checkpoint.model.memory.value.weight, std=0.3)
    tracker = OnlineTracker(checkpoint)
    clips = {name: pictures(10, seed=seed) for name, seed in (("a", 1), ("b", 2), ("c", 3))}
    clips["c"] = [np.repeat(image, 2, axis=1) for image in clips["c"]]
    joins = {"a": 0, "b": 1, "c": 3}
    engines = [TrackerEngine(tracker, most_windows=3), TrackerEngine(tracker)]
    windows = {name: RollingWindows(3, 1, max_gap_s=1.0) for name in clips}
    seen = 0
    for i in range(10):
        due = []
        for name, clip in clips.items():
            if i >= joins[name]:
                at_s = i / FPS + (5.0 if name == "b" and i > 6 else 0.0)
                window = windows[name].push(Frame(name, i, i, Fraction(1, 10), at_s, clip[i]))
                assert window is not None
                due.append(window)
        together, alone = engines[0].process_together(due), [engines[1].process(window) for window in due]
        for one, other in zip(together, alone, strict=True):
            assert one.out_of_slots == other.out_of_slots
            for mine, theirs in zip(one.frames, other.frames, strict=True):
                assert (mine.camera, mine.seq, mine.flags) == (theirs.camera, theirs.seq, theirs.flags)
                assert [t.track_id for t in mine.tracks] == [t.track_id for t in theirs.tracks]
                for x, y in zip(mine.tracks, theirs.tracks, strict=True):
                    seen += 1
                    assert x.label == y.label
                    assert x.score == pytest.approx(y.score, abs=1e-5)
                    differ = (decode_mask(x.mask) != decode_mask(y.mask)).sum() if x.mask else 0
                    assert differ <= 2, "a pixel on the very edge may round to the other side"
    assert seen >= 12


def test_features_of_one_of_a_batch_keep_nothing_of_the_others() -> None:
    tracker = OnlineTracker(tiny_checkpoint(TRACKER))
    prepared = [tracker.prepare(image) for image in pictures(3)]
    for frame in tracker.encode_together(prepared, 3):
        for tensor in (*frame.levels, frame.mask_features, *frame.level_masks):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize(("window_frames", "stride"), [(1, 1), (3, 1), (3, 2), (3, 3)])
def test_offline_answers_each_frame_once_with_what_its_last_window_says(
    window_frames: int, stride: int
) -> None:
    config = replace(TRACKER, window_frames=window_frames, stride=stride)
    images = pictures(11)
    tracker = OnlineTracker(tiny_checkpoint(config))
    got = list(tracker.track_video(images, FPS, "offline"))
    assert [frame.frame_index for frame in got] == list(range(11))
    slots, state = tracker.slots, tracker.initial_state()
    with torch.inference_mode():
        everything = tracker.encode(torch.cat([tracker.prepare(image) for image in images]))
    wanted: dict[int, dict[int, str]] = {}
    lasts = [*range(stride - 1, 11, stride)]
    for last in lasts if lasts[-1] == 10 else [*lasts, 10]:
        frames = list(range(max(0, last - window_frames + 1), last + 1))
        before = slots.retire(state, last / FPS)
        window = everything.windows(torch.tensor([frames]))
        output = slots.decode(window, [before])
        answers = min(stride, last + 1 - max((f for f in lasts if f < last), default=-1) - 1)
        apart = [everything.windows(torch.tensor([f])) for f in frames]
        _, state = slots.update(apart, output, 0, [f / FPS for f in frames], answers, before)
        for f, found in zip(
            frames,
            slots.revise(apart, output, 0, [f / FPS for f in frames], answers, before, state),
            strict=True,
        ):
            tracks = tracks_of(found, images[0].shape[:2], tracker.labels)
            wanted[f] = {t.track_id: t.mask["counts"] for t in tracks}
    assert [{t.track_id: t.mask["counts"] for t in f.tracks} for f in got] == [wanted[f] for f in range(11)]
    if window_frames == 1:
        assert got == list(tracker.track_video(images, FPS))
