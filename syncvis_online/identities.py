"""Who is who: which known identity each object of a frame is, by where it should be and by its looks.

A carried query holds on to an object while it is in sight; where look-alikes cross it may change over, and what comes
out from behind something comes with a new query. So identities are kept apart from slots, each with its motion,
colours, size, classes and query, for `reidentify_s` after it was seen last, and every frame's objects are matched with
them anew (one to one, the largest sum of evidence). Owns what counts as evidence and how an identity is kept up to
date. Knows nothing of slots, windows and the model; a value like the rest of the state.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

NONE = -1
"""In an assignment: nobody who is known."""
UNUSED = 0
"""The id of a row that holds nobody."""
CAPACITY = 128
"""Identities that are known at a time, or twice the slots where these are more; who was seen the longest ago makes
room.
"""
IN_SIGHT_S = 0.25
"""Up to then a gap is one of detection, with weights of its own; beyond it the object was away."""
GLIMPSE_S = 0.2
"""Who was followed for less may well be nobody."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds that an object is an identity = `bias` + the sum of each weight times its cue (see `_cues`)."""

    bias: float
    distance: float
    overlap: float
    color: float
    size: float
    label: float
    query: float
    gap: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts how much, and how an identity follows what is seen of it.

    `in_sight`, `away`: weights of the cues up to IN_SIGHT_S after it was seen last, and later. `same_slot`: of
    being in the slot that holds the identity, up to `same_slot_s` after. `..._s`: time constants of running means, in
    seconds, of which at most IN_SIGHT_S counts from one sighting to the next; `first_velocity`: the share of the first
    velocity that is believed; `heights_per_s`: the fastest, in the object's own heights; `predict_s`: it goes on for so
    long when unseen; `reach` and `reach_per_s`: how far, in sizes, it may be from there before that tells against it.
    """

    in_sight: Weights
    away: Weights
    same_slot: float
    velocity_s: float
    colors_s: float
    queries_s: float
    sizes_s: float
    first_velocity: float
    heights_per_s: float
    predict_s: float
    reach: float
    reach_per_s: float
    same_slot_s: float = 0.35
    votes_s: float = 2.0


RULES = Rules(
    in_sight=Weights(4.0, -1.16, 0.228, -1.2, -1.5, -0.943, -1.0, -0.15),
    away=Weights(4.0, -1.5, 2.48, -1.25, -1.5, -1.0, -1.0, -0.816),
    same_slot=0.263,
    velocity_s=0.444,
    colors_s=0.563,
    queries_s=0.086,
    sizes_s=0.094,
    first_velocity=1.1,
    heights_per_s=3.324,
    predict_s=2.103,
    reach=1.15,
    reach_per_s=1.298,
)
"""Found by `python -m benchmarks.identity_rules`, on videos that are for tuning."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """n objects on one frame.

    boxes (n, 4): x0, y0, x1, y1 in heights of the picture; colors (n, 6): mean CIELAB of the upper and of the lower
    half (`mask_colors`); queries (n, C); labels (n,), places in the second axis of `Identities.votes`; scores (n,) in
    [0, 1]; held (n,): the id that the object's slot holds, UNUSED where none.
    """

    boxes: Floats
    colors: Floats
    queries: Floats
    labels: Ints
    scores: Floats
    held: Ints

    def of(self, index: NDArray[np.intp]) -> Sightings:
        """Some of them."""
        return Sightings(**{each.name: getattr(self, each.name)[index] for each in fields(self)})

    @property
    def centers(self) -> Floats:
        """Of the boxes, (n, 2)."""
        return _centers(self.boxes)

    @property
    def sizes(self) -> Floats:
        """Width and height of the boxes, (n, 2)."""
        return _sizes(self.boxes)


@dataclass(frozen=True, slots=True)
class Identities:
    """K rows, of which those with an id are in use. Never written to; as of when each was seen last, but for running
    means of `velocities` (heights of the picture a second), `sizes`, `colors`, `queries` and `votes` (scores by class).
    """

    ids: Ints
    born_s: Floats
    seen_s: Floats
    boxes: Floats
    velocities: Floats
    sizes: Floats
    colors: Floats
    queries: Floats
    votes: Floats
    sightings: Ints

    @staticmethod
    def nobody(channels: int, labels: int, capacity: int = CAPACITY) -> Identities:
        """No one is known yet."""
        K = capacity
        return Identities(
            ids=np.full(K, UNUSED, dtype=np.int64),
            born_s=np.zeros(K),
            seen_s=np.zeros(K),
            boxes=np.zeros((K, 4)),
            velocities=np.zeros((K, 2)),
            sizes=np.zeros((K, 2)),
            colors=np.zeros((K, 6)),
            queries=np.zeros((K, channels)),
            votes=np.zeros((K, labels)),
            sightings=np.zeros(K, dtype=np.int64),
        )

    def remembered(self, now_s: float, keep_s: float, newest_s: float) -> Identities:
        """Without those seen last more than `keep_s` ago, and more than IN_SIGHT_S of those who were a glimpse. Who was
        seen on the newest frame, at `newest_s`, was not missed yet, however slow the camera is.
        """
        glimpse = self.seen_s - self.born_s < GLIMPSE_S
        gone = now_s - self.seen_s > np.where(glimpse, min(keep_s, IN_SIGHT_S), keep_s)
        return replace(self, ids=np.where(gone & (self.seen_s < newest_s), UNUSED, self.ids))

    def later_than(self, seconds: float) -> Identities:
        """All that happened, so much later."""
        return replace(self, born_s=self.born_s + seconds, seen_s=self.seen_s + seconds)

    def no_later_than(self, now_s: float) -> Identities:
        """For a clock that stepped back."""
        return replace(self, born_s=np.minimum(self.born_s, now_s), seen_s=np.minimum(self.seen_s, now_s))

    def match(self, seen: Sightings, now_s: float, rules: Rules = RULES) -> Ints:
        """The row of who each object is, or NONE, (n,): one to one, the largest sum of positive log-odds."""
        rows = np.full(len(seen.boxes), NONE, dtype=np.int64)
        known = np.flatnonzero(self.ids != UNUSED)
        if known.size and len(rows):
            odds = np.maximum(self._log_odds(known, seen, now_s, rules), 0.0)
            left, right = linear_sum_assignment(odds, maximize=True)
            sure = odds[left, right] > 0
            rows[right[sure]] = known[left[sure]]
        return rows

    def _log_odds(self, known: NDArray[np.intp], seen: Sightings, now_s: float, rules: Rules) -> Floats:
        away_s = now_s - self.seen_s[known]
        cues = self._cues(known, seen, away_s, rules)
        in_sight = (away_s < IN_SIGHT_S)[:, None]
        odds = np.where(in_sight, _weighed(rules.in_sight, cues), _weighed(rules.away, cues))
        same_slot = (self.ids[known][:, None] == seen.held) & (away_s < rules.same_slot_s)[:, None]
        return np.asarray(odds + rules.same_slot * same_slot)

    def _cues(
        self, known: NDArray[np.intp], seen: Sightings, away_s: Floats, rules: Rules
    ) -> dict[str, Floats]:
        """By name, each (known, n): distance of the centres from where the identity should be by now, in sizes and by
        how far it may have strayed, at most 5; IoU of the boxes there; distance of the colours in 30 units, at most 6;
        log ratio of the heights; share of the votes for other classes; 1 - cosine of the queries; seconds away, at
        most 4.
        """
        moved = self.velocities[known] * np.minimum(away_s, rules.predict_s)[:, None]
        boxes = self.boxes[known] + np.concatenate([moved, moved], axis=1)
        sizes = self.sizes[known]
        scale = np.sqrt(np.maximum(sizes[:, None], seen.sizes).prod(-1))
        distance = np.linalg.norm(seen.centers - _centers(boxes)[:, None], axis=-1) / scale
        reach = rules.reach + rules.reach_per_s * away_s[:, None]
        color = np.linalg.norm(self.colors[known][:, None] - seen.colors, axis=-1)
        votes = self.votes[known]
        return {
            "distance": np.minimum(distance / reach, 5.0),
            "overlap": _box_ious(boxes, seen.boxes),
            "color": np.minimum(color / 30, 6.0),
            "size": np.abs(np.log(seen.sizes[:, 1] / sizes[:, None, 1])),
            "label": 1.0 - (votes / votes.sum(1, keepdims=True))[:, seen.labels],
            "query": 1.0 - _normed(self.queries[known]) @ _normed(seen.queries).T,
            "gap": np.broadcast_to(np.minimum(away_s, 4.0)[:, None], distance.shape),
        }

    def noted(
        self, rows: Ints, seen: Sightings, next_id: int, now_s: float, rules: Rules = RULES
    ) -> tuple[Identities, Ints]:
        """After a frame whose objects are who `rows` (n,) says: each who is NONE gets an id, from `next_id` on. Also
        the row of each, (n,).
        """
        new = np.flatnonzero(rows == NONE)
        places = rows.copy()
        places[new] = self._room(len(new), set(rows.tolist()))
        after = replace(self, **{each.name: getattr(self, each.name).copy() for each in fields(self)})
        after._follow(rows[rows != NONE], seen, np.flatnonzero(rows != NONE), now_s, rules)
        after._begin(places[new], seen, new, next_id, now_s)
        after.boxes[places], after.seen_s[places] = seen.boxes, now_s
        after.sightings[places] += 1
        np.add.at(after.votes, (places, seen.labels), seen.scores)
        return after, places

    def _room(self, count: int, taken: set[int]) -> Ints:
        """Rows for new ones: unused first, then of those seen the longest ago."""
        order = np.lexsort((self.seen_s, self.ids != UNUSED))
        free = [int(row) for row in order if int(row) not in taken]
        return np.array(free[:count], dtype=np.int64)

    def _follow(self, rows: Ints, seen: Sightings, of: NDArray[np.intp], now_s: float, rules: Rules) -> None:
        """Written to the copy that `noted` makes."""
        elapsed = np.maximum(now_s - self.seen_s[rows], 1e-3)[:, None]
        counts = np.minimum(elapsed, IN_SIGHT_S)
        limit = rules.heights_per_s * self.sizes[rows, 1:]
        velocity = np.clip((seen.centers[of] - _centers(self.boxes[rows])) / elapsed, -limit, limit)
        first = (self.sightings[rows] == 1)[:, None]
        kept = _towards(self.velocities[rows], velocity, counts / rules.velocity_s)
        self.velocities[rows] = np.where(first, velocity * rules.first_velocity, kept)
        self.sizes[rows] = _towards(self.sizes[rows], seen.sizes[of], counts / rules.sizes_s)
        self.colors[rows] = _towards(self.colors[rows], seen.colors[of], counts / rules.colors_s)
        self.queries[rows] = _towards(self.queries[rows], seen.queries[of], counts / rules.queries_s)
        self.votes[rows] *= np.exp(-counts / rules.votes_s)

    def _begin(self, rows: Ints, seen: Sightings, of: NDArray[np.intp], next_id: int, now_s: float) -> None:
        """Written to the copy that `noted` makes."""
        self.ids[rows] = np.arange(next_id, next_id + len(rows))
        self.born_s[rows], self.sightings[rows] = now_s, 0
        self.velocities[rows], self.votes[rows] = 0.0, 0.0
        self.sizes[rows], self.colors[rows] = seen.sizes[of], seen.colors[of]
        self.queries[rows] = seen.queries[of]


def mask_colors(inside: NDArray[np.bool_], picture: NDArray[np.float32]) -> Floats:
    """Mean colours of the upper and the lower half of a mask (h, w) that is not empty, on a picture (3, h, w), RGB, 0
    to 255: CIELAB (D65) with L from 0 to 255, (6,). Where a half is empty, of the other.
    """
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    around = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside, picture = inside[around], picture[:, *around]
    middle = len(inside) // 2
    upper, lower = picture[:, :middle][:, inside[:middle]], picture[:, middle:][:, inside[middle:]]
    halves = [upper if upper.size else lower, lower if lower.size else upper]
    means = np.stack([half.mean(1) for half in halves])[None].astype(np.float32)
    lab = np.asarray(cv2.cvtColor(means / 255, cv2.COLOR_RGB2LAB)[0], dtype=np.float64)
    lab[:, 0] *= 2.55
    return lab.reshape(-1)


def _weighed(weights: Weights, cues: dict[str, Floats]) -> Floats:
    return np.asarray(sum(getattr(weights, name) * cue for name, cue in cues.items()) + weights.bias)


def _towards(old: Floats, new: Floats, time_constants: Floats) -> Floats:
    """A running mean after so many time constants (n, 1)."""
    return np.asarray(new + np.exp(-time_constants) * (old - new))


def _centers(boxes: Floats) -> Floats:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sizes(boxes: Floats) -> Floats:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)


def _normed(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _box_ious(a: Floats, b: Floats) -> Floats:
    """(A, 4) and (B, 4) -> (A, B)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    common = np.maximum(high - low, 0.0).prod(-1)
    return np.asarray(common / (_sizes(a).prod(1)[:, None] + _sizes(b).prod(1) - common))
