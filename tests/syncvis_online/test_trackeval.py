"""Figures agree with the public implementation (TrackEval) on the same predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from trackeval.metrics import CLEAR, HOTA, Identity, TrackMAP

from syncvis_online.evaluation.average_precision import AREAS, tube_average_precision
from syncvis_online.evaluation.hota import hota_counts
from syncvis_online.evaluation.identity import identity_counts
from syncvis_online.evaluation.tubes import VideoResult, area
from syncvis_online.types import decode_mask, encode_mask
from tests.syncvis_online.tube_data import random_video

BANDS = {"small": (0.0, 90.0), "medium": (90.0, 110.0), "large": (110.0, 1e10)}
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


def with_many_tracks(rng: np.random.Generator) -> list[VideoResult]:
    """More than ten tracks of a class in one video: what AR1 and AR10 leave out."""
    videos = []
    for _ in range(2):
        parts = [random_video(rng, labels=("person",)) for _ in range(6)]
        truth = [
            replace(t, track_id=100 * i + t.track_id) for i, p in enumerate(parts) for t in p.ground_truth
        ]
        found = [replace(t, track_id=100 * i + t.track_id) for i, p in enumerate(parts) for t in p.predicted]
        videos.append(replace(parts[0], ground_truth=tuple(truth), predicted=tuple(found)))
    assert all(len(video.predicted) > 10 for video in videos)
    return videos


SETS = [as_they_are, with_swaps, with_misses_and_empty_frames, with_false_alarms, with_many_tracks]
Build = Callable[[np.random.Generator], list[VideoResult]]


def by_frame(results: list[VideoResult], metric: Any) -> dict[str, Any]:
    """A metric of TrackEval's over all classes of all videos, counts combined; masks are decoded and compared here."""
    parts: dict[str, dict[str, Any]] = {}
    for i, result in enumerate(results):
        for label in sorted(result.labels):
            truth = [t for t in result.ground_truth if t.label == label]
            found = [t for t in result.predicted if t.label == label]
            length = max((len(t.masks) for t in (*truth, *found)), default=0)
            frames = [(_present(truth, t), _present(found, t)) for t in range(length)]
            data = {
                "num_timesteps": length,
                "num_gt_ids": len(truth),
                "num_tracker_ids": len(found),
                "num_gt_dets": sum(len(a) for a, _ in frames),
                "num_tracker_dets": sum(len(b) for _, b in frames),
                "gt_ids": [np.array([k for k, _ in a], dtype=int) for a, _ in frames],
                "tracker_ids": [np.array([k for k, _ in b], dtype=int) for _, b in frames],
                "similarity_scores": [_ious([m for _, m in a], [m for _, m in b]) for a, b in frames],
            }
            parts[f"{i} {label}"] = metric.eval_sequence(data)
    combined: dict[str, Any] = metric.combine_sequences(parts)
    return combined


def _present(tubes: Sequence[Any], t: int) -> list[tuple[int, np.ndarray]]:
    return [(k, decode_mask(tube.masks[t])) for k, tube in enumerate(tubes) if tube.masks[t] is not None]


def _ious(truth: list[np.ndarray], found: list[np.ndarray]) -> np.ndarray:
    table = np.zeros((len(truth), len(found)))
    for i, a in enumerate(truth):
        for j, b in enumerate(found):
            table[i, j] = (a & b).sum() / (a | b).sum()
    return table


def track_map(
    results: list[VideoResult], bands: Mapping[str, tuple[float, float]], most: int = 100
) -> dict[str, Any]:
    """TrackMAP with bands of areas, YouTube-VIS's thresholds, classes averaged."""
    areas_of = {"AREA_RANGES": [list(b) for b in bands.values()], "AREA_RANGE_LABELS": list(bands)}
    metric = TrackMAP({**areas_of, "USE_TIME_RANGES": False, "MAX_DETECTIONS": most, "PRINT_CONFIG": False})
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
    theirs, ours = track_map(results, BANDS), tube_average_precision(results, BANDS)
    assert ours["AP"] == pytest.approx(float(np.mean(theirs["AP_all"])), abs=1e-6)
    assert ours["AP50"] == pytest.approx(float(theirs["AP_all"][0]), abs=1e-6)
    assert ours["AP75"] == pytest.approx(float(theirs["AP_all"][5]), abs=1e-6)
    check_bands(ours, theirs, BANDS)
    for most in (1, 10):
        recall = track_map(results, BANDS, most)["AR_all"]
        assert ours[f"AR{most}"] == pytest.approx(float(np.mean(recall)), abs=1e-6)


def check_bands(ours: dict[str, Any], theirs: dict[str, Any], bands: Mapping[str, Any]) -> None:
    for band in bands:
        expected = float(np.mean(theirs[f"AP_{band}"]))
        said = ours["by_area"][band]
        assert (-1.0 if said is None else said) == pytest.approx(expected, abs=1e-6), band


def enlarged(result: VideoResult, factor: int) -> VideoResult:
    """The same with every pixel as a square of `factor` pixels a side."""

    def larger(masks: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            None if m is None else encode_mask(decode_mask(m).repeat(factor, 0).repeat(factor, 1))
            for m in masks
        )

    return replace(
        result,
        ground_truth=tuple(replace(t, masks=larger(t.masks)) for t in result.ground_truth),
        predicted=tuple(replace(t, masks=larger(t.masks)) for t in result.predicted),
    )


def test_average_precision_in_the_bands_of_youtube_vis() -> None:
    """Objects of 12,000, 20,000 and 75,000 pixels."""
    assert AREAS == {"small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
    rng = np.random.default_rng(0)
    results = [enlarged(random_video(rng), factor) for factor in (10, 13, 25, 13, 10, 25)]
    theirs, ours = track_map(results, AREAS), tube_average_precision(results)
    assert len({ours["by_area"][band] for band in AREAS}) == 3, "each band says something of its own"
    check_bands(ours, theirs, AREAS)


def test_the_sets_hold_what_they_are_for() -> None:
    counts = [identity_counts(build(np.random.default_rng(0))) for build in SETS]
    assert counts[1].IDSW > counts[0].IDSW
    assert counts[2].FN > counts[0].FN
    assert counts[3].FP > counts[0].FP
