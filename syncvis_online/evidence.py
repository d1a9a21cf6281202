"""Evidence of who is who that needs no training of its own: a weighed sum of cues, for any checkpoint.

Of the kind of DeepSORT (Wojke et al., 2017) and BoT-SORT (Aharon et al., 2022), with log-odds in the place of gates.
Owns the cues' geometry, which recognition.py uses too, and the weights, found by `python -m benchmarks.identity_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from syncvis_online.identities import (
    IN_SIGHT_S,
    Floats,
    Following,
    Identities,
    Rows,
    Sightings,
    centers_of,
    sizes_of,
)


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds that an object is an identity = `bias` + the sum of each weight times its cue (see `_cues`)."""

    bias: float
    distance: float
    overlap: float
    color: float
    size: float
    label: float
    looks: float
    gap: float


@dataclass(frozen=True, slots=True)
class LinearEvidence:
    """What counts how much.

    `in_sight`, `away`: weights of the cues up to IN_SIGHT_S after it was seen last, and later. `same_slot`: of
    being in the slot that holds the identity, up to `same_slot_s` after. `predict_s`: it goes on for so long when
    unseen; `reach` and `reach_per_s`: how far, in sizes, it may be from there before that tells against it.
    """

    in_sight: Weights
    away: Weights
    same_slot: float
    predict_s: float
    reach: float
    reach_per_s: float
    following: Following
    same_slot_s: float = 0.35

    def log_odds(self, known: Identities, rows: Rows, seen: Sightings, now_s: float) -> Floats:
        """As `identities.Evidence` has it."""
        away_s = now_s - known.seen_s[rows]
        cues = self._cues(known, rows, seen, now_s)
        in_sight = (away_s < IN_SIGHT_S)[:, None]
        odds = np.where(in_sight, _weighed(self.in_sight, cues), _weighed(self.away, cues))
        same_slot = (known.ids[rows][:, None] == seen.held) & (away_s < self.same_slot_s)[:, None]
        return np.asarray(odds + self.same_slot * same_slot)

    def _cues(self, known: Identities, rows: Rows, seen: Sightings, now_s: float) -> dict[str, Floats]:
        """By name, each (rows, n): distance of the centres from where the identity should be by now, in sizes and by
        how far it may have strayed, at most 5; IoU of the boxes there; distance of the colours in 30 units, at most 6;
        log ratio of the heights; share of the votes for other classes; 1 - cosine of the looks; seconds away, at
        most 4.
        """
        away_s = (now_s - known.seen_s[rows])[:, None]
        boxes = known.moved(rows, now_s, self.predict_s)
        distance = np.linalg.norm(offsets(boxes, known.sizes[rows], seen), axis=-1)
        reach = self.reach + self.reach_per_s * away_s
        color = np.linalg.norm(known.colors[rows][:, None] - seen.colors, axis=-1)
        return {
            "distance": np.minimum(distance / reach, 5.0),
            "overlap": box_ious(boxes, seen.boxes),
            "color": np.minimum(color / 30, 6.0),
            "size": np.abs(np.log(seen.sizes[:, 1] / known.sizes[rows][:, None, 1])),
            "label": other_classes(known, rows, seen),
            "looks": unlike(known.looks[rows], seen.looks),
            "gap": np.broadcast_to(np.minimum(away_s, 4.0), distance.shape),
        }


RULES = LinearEvidence(
    in_sight=Weights(4.0, -1.16, 0.228, -1.2, -1.5, -0.943, -1.0, -0.15),
    away=Weights(4.0, -1.5, 2.48, -1.25, -1.5, -1.0, -1.0, -0.816),
    same_slot=0.263,
    predict_s=2.103,
    reach=1.15,
    reach_per_s=1.298,
    following=Following(
        velocity_s=0.444,
        colors_s=0.563,
        looks_s=0.086,
        sizes_s=0.094,
        first_velocity=1.1,
        heights_per_s=3.324,
    ),
)
"""Found by `python -m benchmarks.identity_rules`, on videos that are for tuning."""


def offsets(boxes: Floats, sizes: Floats, seen: Sightings) -> Floats:
    """From the centres of k boxes to those of what is seen, in sizes of the larger of both: (k, n, 2)."""
    scale = np.sqrt(np.maximum(sizes[:, None], seen.sizes).prod(-1))
    return np.asarray((seen.centers - centers_of(boxes)[:, None]) / scale[..., None])


def other_classes(known: Identities, rows: Rows, seen: Sightings) -> Floats:
    """The share of the votes for other classes than that of what is seen, (rows, n)."""
    votes = known.votes[rows]
    return np.asarray(1.0 - (votes / votes.sum(1, keepdims=True))[:, seen.labels])


def unlike(a: Floats, b: Floats) -> Floats:
    """1 - cosine, of (A, E) and (B, E): (A, B), in [0, 2]."""
    return np.asarray(1.0 - _normed(a) @ _normed(b).T)


def box_ious(a: Floats, b: Floats) -> Floats:
    """(A, 4) and (B, 4) -> (A, B)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    common = np.maximum(high - low, 0.0).prod(-1)
    return np.asarray(common / (sizes_of(a).prod(1)[:, None] + sizes_of(b).prod(1) - common))


def _weighed(weights: Weights, cues: dict[str, Floats]) -> Floats:
    return np.asarray(sum(getattr(weights, name) * cue for name, cue in cues.items()) + weights.bias)


def _normed(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
