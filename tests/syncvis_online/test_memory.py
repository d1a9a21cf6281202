"""A slot's memory: bounded, its own, written at intervals of time; and a tracker's state as bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import TrackerConfig
from syncvis_online.criterion import Criterion, CriterionConfig
from syncvis_online.errors import DataError
from syncvis_online.features import FrameFeatures
from syncvis_online.memory import Memory, QueryMemory
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker
from syncvis_online.state import FORMAT, NEVER, SlotMemory, TrackerState
from syncvis_online.targets import Targets
from syncvis_online.training.objective import carried_loss
from tests.syncvis_online.models import TINY, pictures, tiny_model

N, C, M = TINY.queries, TINY.channels, 4
REMEMBERING = replace(TINY, memory_entries=M)
TRACKER = TrackerConfig(
    window_frames=2, birth_score=0.05, keep_score=0.04, max_lost_s=0.35, duplicate_iou=0.9, min_area=1
)


def remembering_model(seed: int = 0) -> SyncVIS:
    """A tiny model whose memory says something."""
    model = tiny_model(seed, REMEMBERING)
    assert model.memory is not None
    torch.nn.init.normal_(model.memory.value.weight, std=0.3)
    return model


def random_memory(seed: int = 0) -> tuple[torch.Tensor, Memory]:
    rng = torch.Generator().manual_seed(seed)
    queries = torch.randn(N, C, generator=rng)
    keys, values = (torch.randn(N, M, C, generator=rng) for _ in range(2))
    return queries, Memory(keys, values, torch.rand(N, M, generator=rng) < 0.6)


def test_each_slot_reads_its_own_entries_and_an_empty_memory_gives_exactly_zero() -> None:
    torch.manual_seed(1)
    memory = QueryMemory(C)
    queries, held = random_memory()
    held.used[0] = False
    z = memory.read(queries, held)
    assert not z[0].any()
    for j in range(1, N):
        used = held.used[j]
        share = (held.keys[j, used] @ memory.query(queries[j])).softmax(0)
        torch.testing.assert_close(z[j], share @ held.values[j, used], rtol=1e-4, atol=1e-5)
    held.keys[1], held.values[1] = 100.0, 100.0
    torch.testing.assert_close(memory.read(queries, held)[2:], z[2:], rtol=0, atol=0)


def test_reading_does_not_lose_precision_under_autocast() -> None:
    torch.manual_seed(1)
    memory = QueryMemory(C)
    queries, held = random_memory()
    exact = memory.read(queries, held)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(memory.read(queries, held), exact)


def test_a_new_memory_changes_nothing() -> None:
    model = tiny_model(0, REMEMBERING)
    queries = random_memory()[0].double()
    entry = model.remember(queries)
    assert entry is not None
    held = Memory.stack([(*entry, torch.ones(N, dtype=torch.bool))])
    assert torch.equal(model.carry(queries, held), model.carry(queries))
    assert tiny_model().remember(queries) is None


def test_the_ring_overwrites_its_oldest_entry_and_never_what_it_was_given() -> None:
    memory = SlotMemory.empty(3, 2, torch.zeros(1, C))
    slots = np.array([0, 2])
    rings = [memory]
    for t in range(4):
        rows = torch.full((2, C), float(t))
        rings.append(rings[-1].write(slots, rows, -rows, float(t)))
    assert [sorted(ring.written_s[2]) for ring in rings] == [
        [NEVER, NEVER],
        [NEVER, 0.0],
        [0.0, 1.0],
        [1.0, 2.0],
        [2.0, 3.0],
    ]
    assert sorted(rings[-1].keys[0, :, 0].tolist()) == [2.0, 3.0]
    assert sorted(rings[-1].values[0, :, 0].tolist()) == [-3.0, -2.0]
    assert rings[-1].view().used.tolist() == [[True, True], [False, False], [True, True]]
    assert rings[-1].forget(np.array([True, False, False])).view().used.sum() == 2
    assert rings[1].write(np.array([], dtype=np.int64), rows[:0], rows[:0], 9.0) is rings[1]


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_entries_are_written_by_time_and_only_of_slots_that_are_seen(fps: float) -> None:
    """The same seconds of video leave the same number of entries at every frame rate."""
    config = replace(TRACKER, memory_interval_s=0.4)
    tracker = OnlineTracker(Checkpoint(remembering_model(), config, {}))
    image = pictures(1, seed=3)[0]
    features, state = tracker.encode(tracker.prepare(image)), tracker.initial_state()
    for frame in range(int(1.1 * fps)):
        seen = tracker.answer([features], [frame / fps], 1, state, image.shape[:2])
        state = seen.state
        assert state.memory is not None
        written = state.memory.written_s
        assert (written[~state.confirmed] == NEVER).all()
        assert ((written > NEVER).sum(1) <= M).all()
    assert state.confirmed.any()
    first = written[state.confirmed & (state.last_seen_s == (int(1.1 * fps) - 1) / fps)]
    whole = first[(first == 0.0).any(1)]
    assert len(whole), "no slot was seen from the first frame to the last"
    assert ((whole > NEVER).sum(1) == 3).all(), "at 0, 0.4 and 0.8 s"
    gaps = np.diff(np.sort(np.where(whole > NEVER, whole, np.nan), axis=1), axis=1)
    assert np.nanmin(gaps) >= 0.4 - 1e-3


def test_a_state_goes_through_bytes_and_goes_on_as_if_it_had_not() -> None:
    tracker = OnlineTracker(Checkpoint(remembering_model(2), replace(TRACKER, memory_interval_s=0.1), {}))
    images = pictures(14, seed=3)
    features = [tracker.encode(tracker.prepare(image)) for image in images]

    def run(*, through_bytes: bool) -> list[list[tuple[int, str]]]:
        state, said = tracker.initial_state(), []
        for t in range(1, len(images)):
            if through_bytes:
                state = TrackerState.from_bytes(state.to_bytes(), tracker.initial_state())
            answer = tracker.answer(features[t - 1 : t + 1], [(t - 1) / 10, t / 10], 1, state, (72, 128))
            state = answer.state
            said.append([(track.track_id, track.mask["counts"]) for track in answer.tracks[0]])
        return said

    said = run(through_bytes=False)
    assert run(through_bytes=True) == said
    assert sum(map(len, said)) >= 10


def test_damaged_states_and_those_of_other_models_are_refused() -> None:
    state = OnlineTracker(Checkpoint(remembering_model(), TRACKER, {})).initial_state()
    other = OnlineTracker(Checkpoint(tiny_model(), TRACKER, {})).initial_state()
    data = state.to_bytes()
    for damaged in (data[:-1], data[:20], b""):
        with pytest.raises(DataError, match="tracker state: cannot be read"):
            TrackerState.from_bytes(damaged, state)
    with pytest.raises(DataError, match=r"memory\.keys is missing"):
        TrackerState.from_bytes(other.to_bytes(), state)
    with pytest.raises(DataError, match=r"memory\.keys is \(10, 4, 16\) float64, not missing"):
        TrackerState.from_bytes(data, other)
    with pytest.raises(DataError, match="next_id 1 is not above every track id"):
        TrackerState.from_bytes(replace(state, track_ids=np.full(N, 1)).to_bytes(), state)
    with pytest.raises(DataError, match="not finite"):
        TrackerState.from_bytes(replace(state, queries=state.queries * np.nan).to_bytes(), state)
    assert state.memory is not None
    for name in ("keys", "values", "written_s"):
        broken = replace(state.memory, **{name: getattr(state.memory, name) * np.nan})
        with pytest.raises(DataError, match="not finite"):
            TrackerState.from_bytes(replace(state, memory=broken).to_bytes(), state)
    with pytest.raises(DataError, match=f"not a {FORMAT}"):
        TrackerState.from_bytes(data.replace(FORMAT.encode(), FORMAT.encode()[:-1] + b"9"), state)


def test_training_reaches_the_memory_through_all_windows() -> None:
    model = remembering_model().float().train()
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 64, 96)).float()
    masks = torch.zeros(1, 2, 4, 16, 24)
    masks[0, 0, :, 2:8, 2:8] = 1.0
    masks[0, 1, :, 8:14, 12:20] = 1.0
    targets = Targets(masks, torch.tensor([[0, 3]]), torch.ones(1, 4, 16, 24), 1.0)
    encoded = model.encode(images)
    terms = carried_loss(model, Criterion(CriterionConfig(points=0)), encoded, targets, 2, 3, 1)
    torch.stack(list(terms.values())).sum().backward()
    assert model.memory is not None
    for name, parameter in model.memory.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_instances_that_lose_their_query_are_as_if_never_seen() -> None:
    """With odds of one every window is a first window: its query, its memory and its assignment are gone."""
    model, criterion = remembering_model(), Criterion(CriterionConfig(points=0))
    torch.manual_seed(0)
    masks = torch.zeros(2, 2, 4, 16, 24)
    masks[:, 0, :, 2:8, 2:8] = 1.0
    masks[:, 1, 1:, 8:14, 12:20] = 1.0
    targets = Targets(masks, torch.tensor([[0, 3], [2, 2]]), torch.ones(2, 4, 16, 24), 1.0)
    encoded = model.encode(torch.randint(0, 256, (8, 3, 64, 96)).double())

    def terms(**options: float) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(0)
        return carried_loss(model, criterion, encoded, targets, 2, 3, 1, rng=rng, **options)

    forgotten, kept = terms(forget=1.0), terms()
    base = 4 * torch.arange(2)[:, None]
    alone = [
        carried_loss(
            model,
            criterion,
            encoded.windows((base + torch.tensor([i, i + 1])).flatten()),
            targets.frames([i, i + 1]),
            2,
            1,
            1,
        )
        for i in range(3)
    ]
    for name, value in forgotten.items():
        torch.testing.assert_close(value, sum(x[name] for x in alone) / 3, msg=name)  # type: ignore[operator]
    assert any(not torch.allclose(value, kept[name]) for name, value in forgotten.items())
    some = terms(forget=0.5)
    assert all(torch.equal(value, terms(forget=0.5)[name]) for name, value in some.items())


def test_a_memory_is_part_of_what_is_streamed() -> None:
    """The window that follows depends on what was remembered, and only through the slots that remember."""
    tracker = OnlineTracker(Checkpoint(remembering_model(), replace(TRACKER, memory_interval_s=0.0), {}))
    image = pictures(1, seed=3)[0]
    features: list[FrameFeatures] = [tracker.encode(tracker.prepare(image))]
    state = tracker.answer(features, [0.0], 1, tracker.initial_state(), (72, 128)).state
    assert state.memory is not None
    assert (state.memory.written_s > NEVER).any(1).tolist() == state.confirmed.tolist()
    emptied = replace(state, memory=state.memory.forget(np.ones(N, dtype=np.bool_)))
    window = FrameFeatures.stack(features)
    a = tracker.slots.decode(window, [state]).video_queries
    b = tracker.slots.decode(window, [emptied]).video_queries
    assert not torch.equal(a, b)


def test_windows_ahead_carry_what_they_saw_and_no_gradient() -> None:
    """The last of three windows is answered as in a rollout of three, and what it learns from stops at its frames."""
    model, criterion = remembering_model(), Criterion(CriterionConfig(points=0))
    torch.manual_seed(0)
    masks = torch.zeros(2, 2, 4, 16, 24)
    masks[:, 0, :, 2:8, 2:8] = 1.0
    masks[:, 1, 1:3, 8:14, 12:20] = 1.0
    targets = Targets(masks, torch.tensor([[0, 3], [2, 2]]), torch.ones(2, 4, 16, 24), 1.0)
    images = torch.randint(0, 256, (8, 3, 64, 96)).double().requires_grad_()
    encoded = model.eval().encode(images)
    first_two = encoded.windows(torch.tensor([0, 1, 2, 4, 5, 6]))

    all_three = carried_loss(model, criterion, encoded, targets, 2, 3, 1)
    two = carried_loss(model, criterion, first_two, targets.frames([0, 1, 2]), 2, 2, 1)
    last = carried_loss(model, criterion, encoded, targets, 2, 1, 1)
    for name, value in last.items():
        torch.testing.assert_close(value, 3 * all_three[name] - 2 * two[name], msg=name)

    (gradient,) = torch.autograd.grad(torch.stack(list(last.values())).sum(), images)
    reached = gradient.unflatten(0, (2, 4)).abs().amax((0, 2, 3, 4)) > 0
    assert reached.tolist() == [False, False, True, True]
