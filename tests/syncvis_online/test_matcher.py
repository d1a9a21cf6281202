"""Matching, and labels that persist over windows (UVLA)."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncvis_online.matcher import MatchWeights, assign, extend_assignment, match_costs

FREE = -1


def costs(queries: int, instances: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(queries, instances)).astype(np.float32)


def test_costs_equal_the_definition() -> None:
    """Class -p, BCE as a mean over counted cells, dice with the +1 of Mask2Former: written out for each pair."""
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 20)
    labels, targets = torch.randint(0, 5, (3, 2)), (torch.rand(3, 2, 20) > 0.5).float()
    valid = (torch.rand(3, 20) > 0.2).float()
    got = match_costs(logits, masks, labels, targets, valid, MatchWeights(2, 5, 5))
    for d, g, n, i in itertools.product(range(2), range(3), range(4), range(2)):
        counted = valid[g].bool()
        x, y = masks[d, g, n][counted], targets[g, i][counted]
        bce = torch.nn.functional.binary_cross_entropy_with_logits(x, y)
        dice = 1 - (2 * (x.sigmoid() * y).sum() + 1) / (x.sigmoid().sum() + y.sum() + 1)
        label = -logits[d, g, n].softmax(-1)[labels[g, i]]
        np.testing.assert_allclose(got[d, g, n, i], 2 * label + 5 * bce + 5 * dice, rtol=1e-4)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
@settings(deadline=None)
def test_assignment_is_the_cheapest(queries: int, instances: int, seed: int) -> None:
    cost = costs(queries, instances, seed)
    result = assign(cost, np.ones(instances, dtype=bool))
    total = sum(cost[q, i] for q, i in enumerate(result) if i != FREE)
    assert (result != FREE).sum() == min(queries, instances)
    picks = itertools.permutations(range(queries), min(queries, instances))
    best = min(
        sum(cost[q, i] for q, i in zip(pick, which, strict=True))
        for pick in picks
        for which in itertools.permutations(range(instances), min(queries, instances))
    )
    np.testing.assert_allclose(total, best, rtol=1e-5, atol=1e-5)


def test_only_candidates_are_assigned() -> None:
    result = assign(costs(5, 3, 0), np.array([True, False, True]))
    assert set(result) == {FREE, 0, 2}


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 6), st.integers(1, 6))
@settings(deadline=None)
def test_an_identity_never_moves(seed: int, queries: int, instances: int, windows: int) -> None:
    """A query keeps its instance for ever, also out of sight; no instance is held twice; only seen ones are born."""
    rng = np.random.default_rng(seed)
    held = np.full(queries, FREE, dtype=np.int64)
    ever = np.zeros(instances, dtype=bool)
    for _ in range(windows):
        present = rng.random(instances) < 0.6
        ever |= present
        after = extend_assignment(held, rng.normal(size=(queries, instances)).astype(np.float32), present)
        occupied = held != FREE
        assert (after[occupied] == held[occupied]).all()
        taken = after[after != FREE]
        assert len(set(taken)) == len(taken)
        assert ever[taken].all()
        free = (after == FREE).sum()
        assert free == 0 or set(np.flatnonzero(present)) <= set(taken), (
            "an instance in sight while a query is free"
        )
        held = after


def test_an_occupied_query_is_not_taken_while_its_instance_is_out_of_sight() -> None:
    """The hole in the released GenVIS code: query 0 fits the new instance best but holds one that is hidden."""
    cost = np.array([[0.0, -100.0], [0.0, 5.0]], dtype=np.float32)
    after = extend_assignment(np.array([0, FREE]), cost, np.array([False, True]))
    assert after.tolist() == [0, 1]


def test_a_match_that_falls_on_an_occupied_query_is_dropped() -> None:
    after = extend_assignment(np.array([0]), np.zeros((1, 2), dtype=np.float32), np.array([True, True]))
    assert after.tolist() == [0]
