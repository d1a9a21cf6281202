"""Figures agree with the public implementation (TrackEval) on the same predictions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from trackeval.metrics import CLEAR, HOTA, Identity, TrackMAP

from syncvis_online.evaluation.average_precision import tube_average_precision
from syncvis_online.evaluation.hota import hota_counts
from syncvis_online.evaluation.identity import identity_counts
from syncvis_online.evaluation.overlaps import class_overlaps
from syncvis_online.evaluation.tubes import VideoResult, area
from tests.syncvis_online.tube_data import random_video

AREAS = {"small": (0.0, 90.0), "medium": (90.0, 110.0), "large": (110.0, 1e10)}
"""Bands that the small boxes of the test fall into; the evaluation's are YouTube-VIS's."""


def as_they_are(rng: np.random.Generator) -> list[VideoResult]:
    return [random_video(rng) for _ in range(4)]


def with_swaps(rng: np.random.Generator) -> list[VideoResult]:
    """Every second half of a track goes on as another's."""
    videos = []
    for result in as_they_are(rng):
        tubes = result.predicted
        half = len(tubes[0].masks) // 2 if tubes else 0
        swapped = [
            replace(a, masks=a.masks[:half] + b.masks[half:])
            for a, b in zip(tubes, [*tubes[1:], *tubes[:1]], strict=True)
        ]
        kept = [tube for tube in swapped if any(mask is not None for mask in tube.masks)]
        videos.append(replace(result, predicted=tuple(kept)))
    return videos


def with_misses_and_empty_frames(rng: np.random.Generator) -> list[VideoResult]:
    """Nothing is said about some frames, and nothing at all about one video."""
    videos = []
    for result in as_they_are(rng):
        silent = rng.random(6) < 0.4
        tubes = [
            replace(tube, masks=tuple(None if silent[t] else m for t, m in enumerate(tube.masks)))
            for tube in result.predicted
        ]
        kept = [tube for tube in tubes if any(mask is not None for mask in tube.masks)]
        videos.append(replace(result, predicted=tuple(kept)))
    return [*videos, replace(random_video(rng), predicted=())]


def with_false_alarms(rng: np.random.Generator) -> list[VideoResult]:
    """Tracks of other videos, and a video in which there is nothing to be found."""
    videos = as_they_are(rng)
    mixed = [
        replace(a, predicted=a.predicted + tuple(replace(t, track_id=t.track_id + 1000) for t in b.predicted))
        for a, b in zip(videos, videos[::-1], strict=True)
    ]
    return [*mixed, replace(mixed[0], ground_truth=())]


SETS = [as_they_are, with_swaps, with_misses_and_empty_frames, with_false_alarms]
Build = Callable[[np.random.Generator], list[VideoResult]]


def by_frame(results: list[VideoResult], metric: Any) -> dict[str, Any]:
    """A metric of TrackEval's over all classes of all videos, counts combined."""
    parts: dict[str, dict[str, Any]] = {}
    for i, overlaps in enumerate(class_overlaps(results)):
        data = {
            "num_timesteps": len(overlaps.frames),
            "num_gt_ids": overlaps.objects,
            "num_tracker_ids": overlaps.tracks,
            "num_gt_dets": sum(len(f.truth) for f in overlaps.frames),
            "num_tracker_dets": sum(len(f.predicted) for f in overlaps.frames),
            "gt_ids": [f.truth for f in overlaps.frames],
            "tracker_ids": [f.predicted for f in overlaps.frames],
            "similarity_scores": [f.iou for f in overlaps.frames],
        }
        parts[str(i)] = metric.eval_sequence(data)
    combined: dict[str, Any] = metric.combine_sequences(parts)
    return combined


def track_map(results: list[VideoResult]) -> dict[str, Any]:
    """TrackMAP with bands of areas, YouTube-VIS's thresholds, classes averaged."""
    bands = {"AREA_RANGES": [list(b) for b in AREAS.values()], "AREA_RANGE_LABELS": list(AREAS)}
    metric = TrackMAP({**bands, "USE_TIME_RANGES": False, "MAX_DETECTIONS": 100, "PRINT_CONFIG": False})
    by_class = {}
    for label in sorted(set().union(*(r.labels for r in results))):
        parts = {}
        for i, result in enumerate(results):
            truth = [t for t in result.ground_truth if t.label == label]
            found = sorted((t for t in result.predicted if t.label == label), key=lambda t: -t.score)
            masks = [
                [{t: m for t, m in enumerate(tube.masks) if m is not None} for tube in x]
                for x in (truth, found)
            ]
            areas = [[area(list(m.values())).mean() for m in x] for x in masks]
            parts[str(i)] = metric.eval_sequence(
                {
                    "gt_track_ids": list(range(1, len(truth) + 1)),
                    "dt_track_ids": list(range(1, len(found) + 1)),
                    "gt_tracks": masks[0],
                    "dt_tracks": masks[1],
                    "gt_track_areas": areas[0],
                    "dt_track_areas": areas[1],
                    "dt_track_scores": np.array([t.score for t in found]),
                    "iou_type": "mask",
                }
            )
        by_class[label] = metric.combine_sequences(parts)
    averaged: dict[str, Any] = metric.combine_classes_class_averaged(by_class)
    return averaged


@pytest.mark.parametrize("build", SETS)
@pytest.mark.parametrize("seed", range(3))
def test_hota_idf1_and_switches(build: Build, seed: int) -> None:
    results = build(np.random.default_rng(seed))
    with redirect_stdout(StringIO()):
        hota = by_frame(results, HOTA())
        identity = by_frame(results, Identity({"PRINT_CONFIG": False}))
        clear = by_frame(results, CLEAR({"PRINT_CONFIG": False}))
    ours = hota_counts(results).figures()
    for name, figure in ours.items():
        assert figure == pytest.approx(float(np.mean(hota[name])), abs=1e-6), name
    counts = identity_counts(results)
    assert counts.idf1 == pytest.approx(float(identity["IDF1"]), abs=1e-6)
    assert clear["IDSW"] == counts.IDSW
    assert counts.mota == pytest.approx(float(clear["MOTA"]), abs=1e-6)


@pytest.mark.parametrize("build", SETS)
@pytest.mark.parametrize("seed", range(3))
def test_average_precision(build: Build, seed: int) -> None:
    results = build(np.random.default_rng(seed))
    theirs, ours = track_map(results), tube_average_precision(results, AREAS)
    assert ours["AP"] == pytest.approx(float(np.mean(theirs["AP_all"])), abs=1e-6)
    assert ours["AP50"] == pytest.approx(float(theirs["AP_all"][0]), abs=1e-6)
    assert ours["AP75"] == pytest.approx(float(theirs["AP_all"][5]), abs=1e-6)
    for band in AREAS:
        expected = float(np.mean(theirs[f"AP_{band}"]))
        assert (-1.0 if ours["by_area"][band] is None else ours["by_area"][band]) == pytest.approx(
            expected, abs=1e-6
        )


def test_the_sets_hold_what_they_are_for() -> None:
    counts = [identity_counts(build(np.random.default_rng(0))) for build in SETS]
    assert counts[1].IDSW > counts[0].IDSW
    assert counts[2].FN > counts[0].FN
    assert counts[3].FP > counts[0].FP
