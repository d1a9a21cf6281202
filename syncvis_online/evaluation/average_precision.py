"""Average precision and recall, as the COCO and YouTube-VIS tools define them.

Owns matching by score, precision envelopes and averaging over thresholds and classes. What is matched, tubes
of videos or masks of photographs, comes in as matrices of overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncvis_online.evaluation.tubes import (
    GroundTruthTube,
    PredictedTube,
    VideoResult,
    area,
    tube_intersections,
)

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100
Range = tuple[float, float]
AREAS: Mapping[str, Range] = {"small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
"""YouTube-VIS's bands of the mean area of a tube's masks, in pixels, both ends in."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The detections of one class on one sample (a video or picture), against its ground truth.

    `scores` (D,); `overlap` (D, G) in [0, 1]; `ignored` (G,) bool: crowds and regions, which any number of
    detections may match without being counted, and which are never missed. `areas` (D,) and `truth_areas` (G,),
    in pixels, are needed for figures of a band of areas only.
    """

    scores: NDArray[np.float64]
    overlap: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float64] | None = None
    truth_areas: NDArray[np.float64] | None = None

    def outside(self, band: Range | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which detections (D,) and which objects (G,) have an area outside of a band."""
        if band is None:
            return np.zeros(len(self.scores), dtype=np.bool_), np.zeros(len(self.ignored), dtype=np.bool_)
        if self.areas is None or self.truth_areas is None:
            raise ValueError("figures of a band of areas need areas")
        low, high = band
        return (
            (self.areas < low) | (self.areas > high),
            (self.truth_areas < low) | (self.truth_areas > high),
        )


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Average precision (mean over recall points) and greatest recall, each by threshold (thresholds,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def class_figures(
    samples: Sequence[Candidates],
    thresholds: NDArray[np.float64] = IOU_THRESHOLDS,
    max_detections: int = MAX_DETECTIONS,
    band: Range | None = None,
) -> ClassFigures | None:
    """The figures of one class over all samples; None when there is nothing to be found.

    `band`: count objects of that area only. Others may be matched, once each, without being counted, and what
    matches nothing counts only when its own area is in the band.
    """
    wanted = sum(int((~sample.ignored & ~sample.outside(band)[1]).sum()) for sample in samples)
    if not wanted:
        return None
    kept, hits, skipped = [], [], []
    for sample in samples:
        order = np.argsort(-sample.scores, kind="stable")[:max_detections]
        strange, aside = sample.outside(band)
        matched = [
            _match(sample.overlap[order], sample.ignored, aside, strange[order], float(t)) for t in thresholds
        ]
        kept.append(sample.scores[order])
        hits.append(np.array([hit for hit, _ in matched]).reshape(len(thresholds), -1))
        skipped.append(np.array([skip for _, skip in matched]).reshape(len(thresholds), -1))
    ranking = np.argsort(-np.concatenate(kept), kind="stable")
    all_hits, all_skipped = (np.concatenate(x, axis=1)[:, ranking] for x in (hits, skipped))
    curves = [_curve(h[~s], wanted) for h, s in zip(all_hits, all_skipped, strict=True)]
    return ClassFigures(np.array([p for p, _ in curves]), np.array([r for _, r in curves]))


def _match(
    overlap: NDArray[np.float64],
    ignored: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    strange: NDArray[np.bool_],
    threshold: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match detections, best first, each to the best free object: which hit, and which are not counted.

    `ignored` (G,) objects take any number of detections, those `aside` one each; `strange` (D,) detections are not
    counted when they match nothing.
    """
    hit, skipped = np.zeros(len(overlap), dtype=np.bool_), np.zeros(len(overlap), dtype=np.bool_)
    free = np.ones_like(ignored)
    least = min(threshold, 1 - 1e-10)
    for d, row in enumerate(overlap):
        best = _best(row, free & ~ignored & ~aside, least)
        other = _best(row, free & (ignored | aside), least) if best is None else None
        if best is not None:
            hit[d], free[best] = True, False
        elif other is not None:
            skipped[d], free[other] = True, bool(ignored[other])
        else:
            skipped[d] = strange[d]
    return hit, skipped


def _best(row: NDArray[np.float64], allowed: NDArray[np.bool_], least: float) -> int | None:
    """The allowed object with the largest overlap, at least `least`; of equals the last, as in the COCO tools."""
    if not allowed.any():
        return None
    best = len(row) - 1 - int(np.where(allowed, row, -1.0)[::-1].argmax())
    return best if row[best] >= least else None


def _curve(hits: NDArray[np.bool_], wanted: int) -> tuple[float, float]:
    """Mean precision over the recall points, and the greatest recall, of a ranked list of hits."""
    if not len(hits):
        return 0.0, 0.0
    true = np.cumsum(hits)
    recall = true / wanted
    precision = np.maximum.accumulate((true / np.arange(1, len(hits) + 1))[::-1])[::-1]
    reached = np.searchsorted(recall, RECALL_POINTS, side="left")
    padded = np.append(precision, 0.0)
    return float(padded[np.minimum(reached, len(hits))].mean()), float(recall[-1])


def tube_average_precision(
    results: Sequence[VideoResult], areas: Mapping[str, Range] = AREAS
) -> dict[str, Any]:
    """YouTube-VIS figures: AP, AP50, AP75, AR1, AR10, `by_area` and `per_class` with AP and AP50; all in [0, 1].

    The IoU of two tubes is the sum of their intersections over the sum of their unions. Figures are means
    over the classes that have ground truth; all are 0 when there is none, and None by area. After Yang et al.,
    "Video Instance Segmentation", ICCV 2019.
    """
    samples: dict[str, list[Candidates]] = {}
    for result in results:
        for label, candidates in _by_class(result).items():
            samples.setdefault(label, []).append(candidates)
    figures = {label: class_figures(samples[label]) for label in sorted(samples)}
    found = {label: figure for label, figure in figures.items() if figure is not None}
    at = {
        f"AR{k}": _mean([class_figures(samples[label], max_detections=k) for label in found]) for k in (1, 10)
    }
    precision = np.array([figure.precision for figure in found.values()]).reshape(len(found), -1)
    of_75 = int(np.argmin(np.abs(IOU_THRESHOLDS - 0.75)))
    return {
        "AP": float(precision.mean()) if found else 0.0,
        "AP50": float(precision[:, 0].mean()) if found else 0.0,
        "AP75": float(precision[:, of_75].mean()) if found else 0.0,
        **at,
        "by_area": {name: _band_precision(samples, band) for name, band in areas.items()},
        "per_class": {
            label: {"AP": float(figure.precision.mean()), "AP50": float(figure.precision[0])}
            for label, figure in found.items()
        },
    }


def _band_precision(samples: Mapping[str, Sequence[Candidates]], band: Range) -> float | None:
    """AP of the objects of a band of areas, None where there are none."""
    figures = [class_figures(of_class, band=band) for of_class in samples.values()]
    precision = [figure.precision.mean() for figure in figures if figure is not None]
    return float(np.mean(precision)) if precision else None


def _mean(figures: Sequence[ClassFigures | None]) -> float:
    recalls = [figure.recall.mean() for figure in figures if figure is not None]
    return float(np.mean(recalls)) if recalls else 0.0


def _by_class(result: VideoResult) -> dict[str, Candidates]:
    labels = sorted(result.labels | {tube.label for tube in result.ground_truth})
    by_class = {}
    for label in labels:
        predicted = [tube for tube in result.predicted if tube.label == label]
        truth = [tube for tube in result.ground_truth if tube.label == label]
        common, of_predicted, of_truth = tube_intersections(predicted, truth)
        union = of_predicted[:, None] + of_truth[None] - common
        overlap = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        scores = np.array([tube.score for tube in predicted], dtype=np.float64)
        crowd = np.array([tube.crowd for tube in truth], dtype=np.bool_)
        by_class[label] = Candidates(scores, overlap, crowd, _mean_areas(predicted), _mean_areas(truth))
    return by_class


def _mean_areas(tubes: Sequence[PredictedTube] | Sequence[GroundTruthTube]) -> NDArray[np.float64]:
    """Pixels of each tube's masks, mean over the frames that it is on, (N,)."""
    masks = [[mask for mask in tube.masks if mask is not None] for tube in tubes]
    return np.array([area(each).mean() if each else 0.0 for each in masks], dtype=np.float64)
