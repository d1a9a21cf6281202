"""Which query answers for which slot, from window to window."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
import torch

from syncvis_online.association import (
    ASSOCIATIONS,
    NONE,
    Association,
    Cosine,
    Graph,
    Overlap,
    Propagate,
    PropagateOverlap,
    Side,
    mask_ious,
    match_graphs,
)
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.features import FrameFeatures
from syncvis_online.tracker import SlotTracker
from tests.syncvis_online.models import TINY, tiny_model

N = TINY.queries
SIZE = 12
MATCHED = [Cosine(), Overlap(), Graph()]


def maps() -> torch.Tensor:
    """Mask features (SIZE * SIZE, SIZE, SIZE) of which each channel is one cell: an embedding is a mask."""
    return torch.eye(SIZE * SIZE, dtype=torch.float64).view(-1, SIZE, SIZE)


def squares(corners: list[tuple[int, int]]) -> torch.Tensor:
    """Embeddings (N, SIZE * SIZE) of masks of 3 x 3 cells at these corners, and of empty ones for the rest."""
    embeds = torch.full((N, SIZE, SIZE), -1.0, dtype=torch.float64)
    for row, (y, x) in enumerate(corners):
        embeds[row, y : y + 3, x : x + 3] = 1.0
    return embeds.flatten(1)


def looks(seed: int = 0) -> torch.Tensor:
    """Queries (N, 16) that are all different."""
    return torch.randn(N, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def held(count: int) -> np.ndarray:
    return np.arange(N) < count


def answered(
    way: Association, slots: Side, found: Side, objects: int, confidence: np.ndarray | None = None
) -> list[int]:
    """What answers for the first `objects` slots, which are those that hold something."""
    certain = np.ones(N, dtype=np.float32) if confidence is None else confidence
    order = way.assign(slots, found, held(objects), certain, maps())
    taken = order[order != NONE]
    assert len(set(taken.tolist())) == len(taken)
    assert (order[objects:] != NONE).all()
    return order[:objects].tolist()


@pytest.mark.parametrize("way", MATCHED, ids=lambda way: type(way).__name__)
def test_objects_are_found_again_in_any_order_of_the_queries(way: Association) -> None:
    queries, embeds = looks(), squares([(0, 0), (0, 6), (6, 0), (8, 8)])
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    found = Side(torch.empty_like(queries), torch.empty_like(embeds))
    found.queries[order] = queries * 3.0 + 0.05 * looks(2)
    found.embeds[order] = embeds
    assert answered(way, Side(queries, embeds), found, 4) == order[:4].tolist()


def test_overlap_ignores_looks_and_cosine_ignores_places() -> None:
    queries, embeds = looks(), squares([(0, 0), (0, 6)])
    swapped = torch.arange(N)
    swapped[:2] = torch.tensor([1, 0])
    found = Side(queries, embeds[swapped])
    assert answered(Cosine(), Side(queries, embeds), found, 2) == [0, 1]
    assert answered(Overlap(), Side(queries, embeds), found, 2) == [1, 0]


def test_a_slot_whose_mask_is_nowhere_has_no_answer_by_overlap() -> None:
    slots = Side(looks(), squares([(0, 0), (0, 6)]))
    found = Side(looks(), squares([(0, 0), (8, 8)]))
    assert answered(Overlap(), slots, found, 2) == [0, NONE]


def test_what_stands_beside_them_tells_objects_apart_that_look_alike() -> None:
    """Two that look the same, each beside another one; cosine cannot tell them, the layout can."""
    queries = looks()
    queries[1] = queries[0]
    places = [(0, 0), (9, 9), (0, 3), (9, 6)]  # 0 stands beside 2, and 1 beside 3
    slots = Side(queries, squares(places))
    for order in permutations(range(4)):
        index = torch.arange(N)
        index[list(order)] = torch.arange(4)  # what was query i is query order[i]
        found = Side(queries[index], slots.embeds[index])
        # A faint hint the wrong way, so that similarity alone would exchange the two.
        found.queries[order[0]] = queries[0] + 1e-3 * queries[3]
        assert answered(Graph(), slots, found, 4) == list(order)


def test_graphs_are_matched_as_well_as_by_trying_everything() -> None:
    rng = np.random.default_rng(0)
    best_found = 0
    for _ in range(30):
        nodes = rng.uniform(size=(3, 5))
        left, right = (x + x.T for x in (rng.uniform(size=(3, 3)), rng.uniform(size=(5, 5))))

        def value(columns: tuple[int, ...], nodes=nodes, left=left, right=right) -> float:  # type: ignore[no-untyped-def]
            c = list(columns)
            return float(nodes[range(3), c].sum() + (left * right[np.ix_(c, c)]).sum())

        pairs = match_graphs(nodes, left, right)
        assert pairs[:, 0].tolist() == [0, 1, 2]
        assert len(set(pairs[:, 1].tolist())) == 3
        got, best = value(tuple(pairs[:, 1])), max(map(value, permutations(range(5), 3)))
        assert got >= 0.8 * best  # a local maximum
        best_found += got > best - 1e-9
    assert best_found >= 20


def test_only_those_that_carry_start_from_the_carried_queries() -> None:
    model = tiny_model()
    carried = torch.randn(2, N, TINY.channels, dtype=torch.float64)
    learned = model.carry(model.decoder.video_query)
    for way in MATCHED:
        for row in way.start(model, carried, None):
            assert torch.allclose(
                row, learned, rtol=0, atol=1e-12
            )  # some processors round a row by itself otherwise
    for way in (Propagate(), PropagateOverlap()):
        assert torch.equal(way.start(model, carried, None), model.carry(carried))


def test_a_carried_query_that_changes_over_loses_its_identity_to_the_one_that_stayed() -> None:
    """Slots 0 and 1 are both found on what was slot 1's, and a query that was free is on what was slot 0's."""
    slots = Side(looks(), squares([(0, 0), (0, 6)]))
    found = Side(looks(), squares([(0, 6), (0, 6), (0, 0)]))
    assert answered(Propagate(), slots, found, 2) == [0, 1]
    assert answered(PropagateOverlap(), slots, found, 2) == [2, 1]
    unlikely = np.where(np.arange(N) == 2, 0.1, 1.0).astype(np.float32)
    assert answered(PropagateOverlap(), slots, found, 2, unlikely) == [0, 1]


def test_carried_queries_stay_where_nothing_is_likely_or_nothing_is_held() -> None:
    """A picture that turns black, and an empty street."""
    slots = Side(looks(), squares([(0, 0), (0, 6)]))
    nothing = np.zeros(N, dtype=np.float32)
    assert answered(PropagateOverlap(), slots, slots, 2, nothing) == [0, 1]
    for way in ASSOCIATIONS.values():
        order = way.assign(slots, slots, held(0), nothing, maps())
        assert order.tolist() == list(range(N))


def test_a_carried_query_whose_mask_only_changes_a_little_keeps_its_slot() -> None:
    slots = Side(looks(), squares([(0, 0), (0, 6)]))
    found = Side(
        looks(), squares([(0, 1), (0, 6), (0, 0)])
    )  # query 2 fits better than 0, but by less than it takes
    slots.embeds[0] = (slots.embeds[0] + found.embeds[0]).clamp(min=-0.5)  # overlaps both by as much
    assert answered(PropagateOverlap(), slots, found, 2) == [0, 1]


def test_free_slots_take_the_most_confident_of_what_is_left() -> None:
    slots = Side(looks(), squares([(0, 0)]))
    found = Side(
        looks(), squares([(6, 6), (0, 0)])
    )  # what slot 0 held is query 1's now, and query 0 has a new one
    confidence = np.linspace(1.0, 0.0, N).astype(np.float32)
    order = Overlap().assign(slots, found, held(1), confidence, maps())
    assert order[0] == 1
    assert sorted(order.tolist()) == list(range(N))
    assert order[1] == 0  # the only free slot whose own query is taken


def test_ious_of_masks() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(3, 5, 7)) > 0.5, rng.uniform(size=(4, 5, 7)) > 0.5
    a[0] = b[1] = False
    wanted = [[(x & y).sum() / max(1, (x | y).sum()) for y in b] for x in a]
    assert np.allclose(mask_ious(a, b), wanted)
    assert mask_ious(a, b[:0]).shape == (3, 0)


@pytest.mark.parametrize("association", ["cosine", "iou", "graph", "propagate_iou"])
def test_identities_follow_the_object_through_the_queries(association: str) -> None:
    """Two objects whose queries change places from window to window, masks and all."""
    config = TrackerConfig(
        window_frames=2,
        association=association,  # type: ignore[arg-type]
        reidentify_s=0.0,
        min_area=1,
    )
    tracker = SlotTracker(tiny_model(), config)
    state = tracker.initial_state()
    rng = np.random.default_rng(0)
    queries = torch.from_numpy(rng.normal(size=(N, TINY.channels)))
    seen = []
    for window in range(5):
        order = torch.from_numpy(rng.permutation(N))
        logits = torch.full((N, len(TINY.labels) + 1), -30.0, dtype=torch.float64)
        logits[:, -1] = 30.0
        embeds = torch.full((N, TINY.mask_channels), -30.0, dtype=torch.float64)
        for thing, label in ((0, 2), (1, 4)):
            logits[thing, label], logits[thing, -1] = 30.0, -30.0
            embeds[thing, thing] = 30.0
        prediction = BranchPrediction(logits[order][None], embeds[order][None])
        output = DecoderOutput((LayerPrediction(prediction, prediction),), queries[order][None])
        cells = torch.eye(TINY.mask_channels, dtype=torch.float64)
        frame = FrameFeatures((), (), cells.view(1, TINY.mask_channels, 1, -1).expand(1, -1, 2, -1), ())
        times = [0.1 * window - 0.1, 0.1 * window]
        answered, state = tracker.update([frame, frame], output, 0, times, 1, state)
        seen.append({d.track_id: (d.label, int(d.logits.argmax())) for d in answered[0]})
    assert len(seen[0]) == 2
    assert all(answer == seen[0] for answer in seen)


def test_every_association_of_the_config_exists() -> None:
    for name in ASSOCIATIONS:
        assert TrackerConfig(association=name).association == name  # type: ignore[arg-type]


COUNTS_OVERLAPS = """
import time
import numpy as np
from syncvis_online.association import mask_ious
masks = np.random.default_rng(0).random((12, 96, 160)) > 0.5
began, own = time.process_time(), time.thread_time()
for _ in range(100):
    mask_ious(masks, masks)
print(time.process_time() - began, time.thread_time() - own)
"""


def test_overlaps_leave_no_other_thread_spinning() -> None:
    """NumPy's BLAS would take another processor from the network, as much as the product takes itself and more."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", COUNTS_OVERLAPS]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()
    whole_s, own_s = map(float, said)
    assert whole_s < 1.5 * own_s
