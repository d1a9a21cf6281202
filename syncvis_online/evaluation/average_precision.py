"""Average precision and recall, as the COCO and YouTube-VIS tools define them.

Owns matching by score, precision envelopes and averaging over thresholds and classes. What is matched, tubes
of videos or masks of photographs, comes in as matrices of overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncvis_online.evaluation.tubes import VideoResult, tube_intersections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """The detections of one class on one sample (a video or picture), against its ground truth.

    `scores` (D,); `overlap` (D, G) in [0, 1]; `ignored` (G,) bool: crowds and regions, which any number of
    detections may match without being counted, and which are never missed.
    """

    scores: NDArray[np.float64]
    overlap: NDArray[np.float64]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Average precision (mean over recall points) and greatest recall, each by threshold (thresholds,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def class_figures(
    samples: Sequence[Candidates],
    thresholds: NDArray[np.float64] = IOU_THRESHOLDS,
    max_detections: int = MAX_DETECTIONS,
) -> ClassFigures | None:
    """The figures of one class over all samples; None when there is nothing to be found."""
    wanted = sum(int((~sample.ignored).sum()) for sample in samples)
    if not wanted:
        return None
    kept, hits, skipped = [], [], []
    for sample in samples:
        order = np.argsort(-sample.scores, kind="stable")[:max_detections]
        matched = [_match(sample.overlap[order], sample.ignored, float(t)) for t in thresholds]
        kept.append(sample.scores[order])
        hits.append(np.array([hit for hit, _ in matched]).reshape(len(thresholds), -1))
        skipped.append(np.array([skip for _, skip in matched]).reshape(len(thresholds), -1))
    ranking = np.argsort(-np.concatenate(kept), kind="stable")
    all_hits, all_skipped = (np.concatenate(x, axis=1)[:, ranking] for x in (hits, skipped))
    curves = [_curve(h[~s], wanted) for h, s in zip(all_hits, all_skipped, strict=True)]
    return ClassFigures(np.array([p for p, _ in curves]), np.array([r for _, r in curves]))


def _match(
    overlap: NDArray[np.float64], ignored: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match detections, best first, each to the best free object: which hit, which only hit ignored ones."""
    hit, skipped = np.zeros(len(overlap), dtype=np.bool_), np.zeros(len(overlap), dtype=np.bool_)
    free = ~ignored
    for d, row in enumerate(overlap):
        # Of equals the last wins, as in the COCO tools.
        wanted = np.where(free, row, -1.0)[::-1]
        best = len(row) - 1 - int(wanted.argmax()) if len(row) else -1
        if best >= 0 and free[best] and row[best] >= min(threshold, 1 - 1e-10):
            hit[d], free[best] = True, False
        elif bool((row[ignored] >= min(threshold, 1 - 1e-10)).any()):
            skipped[d] = True
    return hit, skipped


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


def tube_average_precision(results: Sequence[VideoResult]) -> dict[str, float | dict[str, dict[str, float]]]:
    """YouTube-VIS figures: AP, AP50, AP75, AR1, AR10, and `per_class` with AP and AP50; all in [0, 1].

    The IoU of two tubes is the sum of their intersections over the sum of their unions. Figures are means
    over the classes that have ground truth; all are 0 when there is none. After Yang et al., "Video Instance
    Segmentation", ICCV 2019.
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
        "per_class": {
            label: {"AP": float(figure.precision.mean()), "AP50": float(figure.precision[0])}
            for label, figure in found.items()
        },
    }


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
        by_class[label] = Candidates(scores, overlap, crowd)
    return by_class
