"""HOTA: how well objects are found, and kept apart, in one figure (Luiten et al., IJCV 2021); as in TrackEval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from syncvis_online.evaluation.overlaps import ClassOverlaps, class_overlaps
from syncvis_online.evaluation.tubes import VideoResult

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Localisation thresholds; the figures are means over them."""
_EPSILON = float(np.finfo(np.float64).eps)


def _zeros() -> NDArray[np.float64]:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True, slots=True)
class HotaCounts:
    """Detections by what became of them, and the sum of association accuracies over the true ones; by alpha (A,)."""

    TP: NDArray[np.float64] = field(default_factory=_zeros)
    FP: NDArray[np.float64] = field(default_factory=_zeros)
    FN: NDArray[np.float64] = field(default_factory=_zeros)
    associated: NDArray[np.float64] = field(default_factory=_zeros)

    def __add__(self, other: HotaCounts) -> HotaCounts:
        return HotaCounts(
            self.TP + other.TP, self.FP + other.FP, self.FN + other.FN, self.associated + other.associated
        )

    def figures(self) -> dict[str, float]:
        """HOTA, DetA and AssA, in [0, 1]."""
        detection = self.TP / np.maximum(1.0, self.TP + self.FP + self.FN)
        association = self.associated / np.maximum(1.0, self.TP)
        return {
            "HOTA": float(np.sqrt(detection * association).mean()),
            "DetA": float(detection.mean()),
            "AssA": float(association.mean()),
        }


def hota_counts(results: Sequence[VideoResult]) -> HotaCounts:
    """The counts summed over videos and classes (TrackEval's `cls_comb_det_av`)."""
    total = HotaCounts()
    for overlaps in class_overlaps(results):
        total = total + _count(overlaps)
    return total


def _count(overlaps: ClassOverlaps) -> HotaCounts:
    of_object, of_track = np.zeros((overlaps.objects, 1)), np.zeros((1, overlaps.tracks))
    alike = np.zeros((overlaps.objects, overlaps.tracks))
    for frame in overlaps.frames:
        of_object[frame.truth] += 1
        of_track[:, frame.predicted] += 1
        union = frame.iou.sum(0)[None] + frame.iou.sum(1)[:, None] - frame.iou
        shares = np.divide(frame.iou, union, out=np.zeros_like(frame.iou), where=union > _EPSILON)
        alike[np.ix_(frame.truth, frame.predicted)] += shares
    alignment = alike / np.maximum(of_object + of_track - alike, _EPSILON)
    true = _zeros()
    matches = np.zeros((len(ALPHAS), overlaps.objects, overlaps.tracks))
    for frame in overlaps.frames:
        # One matching for all alphas: the one with the best global alignment.
        score = alignment[np.ix_(frame.truth, frame.predicted)] * frame.iou
        rows, columns = linear_sum_assignment(score, maximize=True)
        hit = frame.iou[rows, columns][None] >= ALPHAS[:, None] - _EPSILON
        true += hit.sum(1)
        matches[:, frame.truth[rows], frame.predicted[columns]] += hit
    found = matches / np.maximum(1.0, of_object + of_track - matches)
    return HotaCounts(
        TP=true,
        FP=of_track.sum() - true,
        FN=of_object.sum() - true,
        associated=(matches * found).sum((1, 2)),
    )
