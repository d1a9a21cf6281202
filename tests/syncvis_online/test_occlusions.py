"""What becomes of identities while objects are out of sight, on tubes drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from syncvis_online.evaluation.occlusions import OcclusionCounts, occlusion_counts
from syncvis_online.evaluation.tubes import GroundTruthTube, PredictedTube, VideoResult
from syncvis_online.types import RLE, encode_mask

FPS = 10.0
LENGTH = 80


def square(x: int) -> RLE:
    mask = np.zeros((20, 60), dtype=np.bool_)
    mask[4:12, x : x + 8] = True
    return encode_mask(mask)


def on(frames: range | list[int], x: int = 0) -> tuple[RLE | None, ...]:
    return tuple(square(x) if t in frames else None for t in range(LENGTH))


def result(truth: list[range], *tracks: list[range]) -> VideoResult:
    """One person in sight on some stretches, and tracks that are on it on some."""
    frames = [t for stretch in truth for t in stretch]
    found = [
        PredictedTube(i, "person", 0.9, on([t for stretch in stretches for t in stretch]))
        for i, stretches in enumerate(tracks, start=1)
    ]
    return VideoResult((GroundTruthTube(1, "person", on(frames)),), tuple(found), frozenset({"person"}))


@pytest.mark.parametrize(
    ("tracks", "outcome"),
    [
        ([[range(30), range(46, 80)]], OcclusionCounts(same=1)),
        ([[range(30), range(54, 80)]], OcclusionCounts(same=1)),  # 0.9 s late
        ([[range(30)], [range(46, 80)]], OcclusionCounts(other=1)),
        ([[range(30)]], OcclusionCounts(lost=1)),
        ([[range(30)], [range(57, 80)]], OcclusionCounts(lost=1)),  # too late
        ([[range(10)], [range(46, 80)]], OcclusionCounts()),  # not tracked before it hid
    ],
)
def test_an_absence_has_one_outcome(tracks: list[list[range]], outcome: OcclusionCounts) -> None:
    counts = occlusion_counts([result([range(30), range(45, 80)], *tracks)], FPS)
    assert counts["1-2 s"] == outcome
    assert all(value == OcclusionCounts() for key, value in counts.items() if key != "1-2 s")


def test_absences_are_sorted_by_their_length_and_added_up() -> None:
    always = [range(80)]
    short = result([range(20), range(25, 80)], always)
    long = result([range(20), range(50, 80)], always)
    counts = occlusion_counts([short, long, long], FPS)
    assert {key: value.same for key, value in counts.items()} == {
        "0.2-1 s": 1,
        "1-2 s": 0,
        "2-4 s": 2,
        "4-8 s": 0,
    }
    assert counts["2-4 s"].kept == 1.0
    assert OcclusionCounts(same=1, other=2, lost=1).kept == 0.25
    assert OcclusionCounts().kept == 0.0


def test_one_that_is_in_sight_only_for_a_moment_after_it_does_not_count() -> None:
    counts = occlusion_counts([result([range(30), range(45, 49)], [range(80)])], FPS)
    assert sum(c.same + c.other + c.lost for c in counts.values()) == 0
