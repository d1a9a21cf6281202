"""IDF1 and identity switches: hand-computed cases, and what no renaming may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncvis_online.evaluation.identity import IdentityCounts, identity_counts
from syncvis_online.evaluation.tubes import PredictedTube
from tests.syncvis_online.tube_data import Box, random_video, track, truth, video

LEFT: Box = (0, 0, 10, 10)
RIGHT: Box = (30, 0, 40, 10)
seeds = st.integers(0, 2**32 - 1)


def test_ids_that_swap_midway_give_two_switches_and_half_the_identity() -> None:
    objects = [truth(1, [LEFT] * 4), truth(2, [RIGHT] * 4)]
    swapped = [track(1, [LEFT, LEFT, RIGHT, RIGHT]), track(2, [RIGHT, RIGHT, LEFT, LEFT])]
    counts = identity_counts([video(objects, swapped)])
    assert (counts.IDTP, counts.IDFP, counts.IDFN) == (4, 4, 4)
    assert (counts.idf1, counts.IDSW) == (0.5, 2)
    assert counts.mota == (8 - 0 - 2) / 8


def test_a_new_id_after_a_gap_is_one_switch() -> None:
    objects = [truth(1, [LEFT, LEFT, LEFT, None, LEFT, LEFT])]
    broken = [track(1, [LEFT, LEFT, LEFT, None, None, None]), track(2, [None, None, None, None, LEFT, LEFT])]
    counts = identity_counts([video(objects, broken)])
    assert counts.IDSW == 1
    assert counts.idf1 == pytest.approx(2 * 3 / (5 + 5))
    kept = identity_counts([video(objects, [track(9, [LEFT, LEFT, LEFT, None, LEFT, LEFT])])])
    assert (kept.IDSW, kept.idf1) == (0, 1.0)


def test_a_pair_goes_on_although_another_overlaps_more() -> None:
    wide, exact, short = (0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 8, 10)
    objects = [truth(1, [wide] * 3)]
    predicted = [track(1, [exact, short, short]), track(2, [None, exact, exact])]
    assert identity_counts([video(objects, predicted)]).IDSW == 0


def test_half_overlap_is_the_limit_and_classes_do_not_mix() -> None:
    objects = [truth(1, [(0, 0, 10, 10)])]
    enough, short = track(1, [(0, 0, 5, 10)]), track(1, [(0, 0, 4, 10)])
    assert identity_counts([video(objects, [enough])]).idf1 == 1.0
    assert identity_counts([video(objects, [short])]).idf1 == 0.0
    other = identity_counts([video(objects, [track(1, [(0, 0, 10, 10)], "car")])])
    assert (other.idf1, other.FP, other.FN) == (0.0, 1, 1)
    unlabelled = identity_counts([video(objects, [track(1, [(0, 0, 10, 10)], "car")], ["person"])])
    assert (unlabelled.FP, unlabelled.FN) == (0, 1)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    objects = [truth(1, [LEFT]), truth(2, [(20, 0, 60, 40)], crowd=True)]
    counts = identity_counts([video(objects, [track(1, [LEFT]), track(2, [RIGHT])])])
    assert counts == IdentityCounts(IDTP=1, TP=1)
    outside = identity_counts([video(objects, [track(1, [LEFT]), track(2, [(0, 20, 10, 30)])])])
    assert (outside.IDFP, outside.FP) == (1, 1)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_perfect_predictions_give_one_and_none_give_zero(seed: int) -> None:
    result = random_video(np.random.default_rng(seed))
    perfect = [PredictedTube(tube.track_id, tube.label, 0.1, tube.masks) for tube in result.ground_truth]
    counts = identity_counts([video(result.ground_truth, perfect)])
    assert (counts.idf1, counts.mota) == ((1.0, 1.0) if result.ground_truth else (0.0, 0.0))
    assert counts.IDSW == counts.FP == counts.FN == 0
    nothing = identity_counts([video(result.ground_truth, [])])
    assert (nothing.idf1, nothing.IDSW, nothing.TP) == (0.0, 0, 0)


@given(seeds, seeds)
@settings(max_examples=30, deadline=None)
def test_renaming_and_reordering_change_nothing(seed: int, order: int) -> None:
    rng = np.random.default_rng(order)
    results = [random_video(np.random.default_rng(seed + i)) for i in range(2)]
    renamed = []
    for result in results:
        names = rng.permutation(1000)
        predicted = [replace(tube, track_id=int(names[i])) for i, tube in enumerate(result.predicted)]
        shuffled = [predicted[i] for i in rng.permutation(len(predicted))]
        renamed.append(video(result.ground_truth, shuffled, sorted(result.labels)))
    assert identity_counts(results) == identity_counts(renamed[::-1])


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_counts_add_up(seed: int) -> None:
    results = [random_video(np.random.default_rng(seed + i)) for i in range(2)]
    counts = identity_counts(results)
    truths = sum(mask is not None for r in results for tube in r.ground_truth for mask in tube.masks)
    found = sum(mask is not None for r in results for tube in r.predicted for mask in tube.masks)
    assert counts.IDTP + counts.IDFN == counts.TP + counts.FN == truths
    assert counts.IDTP + counts.IDFP == counts.TP + counts.FP == found
    assert counts.IDTP <= counts.TP
    assert counts == identity_counts(results[:1]) + identity_counts(results[1:])
