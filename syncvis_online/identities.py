"""Who is who: which known identity each object of a frame is, by where it should be and by its looks.

A carried query holds on to an object while it is in sight; where look-alikes cross it may change over, and what comes
out from behind something comes with a new query. So identities are kept apart from slots, each with its motion,
colours, size, classes and looks, for `reidentify_s` after it was seen last, and every frame's objects are matched with
them anew (one to one, the largest sum of evidence). Owns how an identity is kept up to date, and the matching; what
speaks for whom is known in evidence.py and recognition.py. Knows nothing of slots, windows and the model; a value like
the rest of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

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
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Following:
    """How an identity follows what is seen of it.

    `..._s`: time constants of running means, in seconds, of which at most IN_SIGHT_S counts from one sighting to the
    next; `first_velocity`: the share of the first velocity that is believed; `heights_per_s`: the fastest, in the
    object's own heights.
    """

    velocity_s: float
    colors_s: float
    looks_s: float
    sizes_s: float
    first_velocity: float
    heights_per_s: float
    votes_s: float = 2.0


class Evidence(Protocol):
    """What speaks for an object of a frame being somebody who is known."""

    @property
    def following(self) -> Following: ...

    def log_odds(self, known: Identities, rows: Rows, seen: Sightings, now_s: float) -> Floats:
        """That the identity in each of `rows` (k,) is each object that is seen: (k, n), natural logarithm."""
        ...


@dataclass(frozen=True, slots=True)
class Sightings:
    """n objects on one frame.

    boxes (n, 4): x0, y0, x1, y1 in heights of the picture; colors (n, 6): mean CIELAB of the upper and of the lower
    half (`mask_colors`); looks (n, E): directions, near one another of what is alike (queries, or of recognition.py);
    labels (n,), places in the second axis of `Identities.votes`; scores (n,) in [0, 1]; held (n,): the id that the
    object's slot holds, UNUSED where none.
    """

    boxes: Floats
    colors: Floats
    looks: Floats
    labels: Ints
    scores: Floats
    held: Ints

    def of(self, index: Rows) -> Sightings:
        """Some of them."""
        return Sightings(**{each.name: getattr(self, each.name)[index] for each in fields(self)})

    @property
    def centers(self) -> Floats:
        """Of the boxes, (n, 2)."""
        return centers_of(self.boxes)

    @property
    def sizes(self) -> Floats:
        """Width and height of the boxes, (n, 2)."""
        return sizes_of(self.boxes)


@dataclass(frozen=True, slots=True)
class Identities:
    """K rows, of which those with an id are in use. Never written to; as of when each was seen last (`newest_looks`
    too), but for running means of `velocities` (heights of the picture a second), `sizes`, `colors`, `looks` and
    `votes` (scores by class).
    """

    ids: Ints
    born_s: Floats
    seen_s: Floats
    boxes: Floats
    velocities: Floats
    sizes: Floats
    colors: Floats
    looks: Floats
    newest_looks: Floats
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
            looks=np.zeros((K, channels)),
            newest_looks=np.zeros((K, channels)),
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

    def match(self, seen: Sightings, now_s: float, evidence: Evidence) -> Ints:
        """The row of who each object is, or NONE, (n,): one to one, the largest sum of positive log-odds."""
        rows = np.full(len(seen.boxes), NONE, dtype=np.int64)
        known = np.flatnonzero(self.ids != UNUSED)
        if known.size and len(rows):
            odds = np.maximum(evidence.log_odds(self, known, seen, now_s), 0.0)
            left, right = linear_sum_assignment(odds, maximize=True)
            sure = odds[left, right] > 0
            rows[right[sure]] = known[left[sure]]
        return rows

    def moved(self, rows: Rows, now_s: float, most_s: float) -> Floats:
        """The boxes (k, 4) of some by now, if each went on as it did, for `most_s` at most."""
        away_s = np.minimum(now_s - self.seen_s[rows], most_s)[:, None]
        return self.boxes[rows] + np.tile(self.velocities[rows] * away_s, 2)

    def noted(
        self, rows: Ints, seen: Sightings, next_id: int, now_s: float, following: Following
    ) -> tuple[Identities, Ints]:
        """After a frame whose objects are who `rows` (n,) says: each who is NONE gets an id, from `next_id` on. Also
        the row of each, (n,).
        """
        new = np.flatnonzero(rows == NONE)
        places = rows.copy()
        places[new] = self._room(len(new), set(rows.tolist()))
        after = replace(self, **{each.name: getattr(self, each.name).copy() for each in fields(self)})
        after._follow(rows[rows != NONE], seen, np.flatnonzero(rows != NONE), now_s, following)
        after._begin(places[new], seen, new, next_id, now_s)
        after.boxes[places], after.seen_s[places] = seen.boxes, now_s
        after.newest_looks[places] = seen.looks
        after.sightings[places] += 1
        np.add.at(after.votes, (places, seen.labels), seen.scores)
        return after, places

    def _room(self, count: int, taken: set[int]) -> Ints:
        """Rows for new ones: unused first, then of those seen the longest ago."""
        order = np.lexsort((self.seen_s, self.ids != UNUSED))
        free = [int(row) for row in order if int(row) not in taken]
        return np.array(free[:count], dtype=np.int64)

    def _follow(self, rows: Ints, seen: Sightings, of: Rows, now_s: float, following: Following) -> None:
        """Written to the copy that `noted` makes."""
        elapsed = np.maximum(now_s - self.seen_s[rows], 1e-3)[:, None]
        counts = np.minimum(elapsed, IN_SIGHT_S)
        limit = following.heights_per_s * self.sizes[rows, 1:]
        velocity = np.clip((seen.centers[of] - centers_of(self.boxes[rows])) / elapsed, -limit, limit)
        first = (self.sightings[rows] == 1)[:, None]
        kept = _towards(self.velocities[rows], velocity, counts / following.velocity_s)
        self.velocities[rows] = np.where(first, velocity * following.first_velocity, kept)
        self.sizes[rows] = _towards(self.sizes[rows], seen.sizes[of], counts / following.sizes_s)
        self.colors[rows] = _towards(self.colors[rows], seen.colors[of], counts / following.colors_s)
        self.looks[rows] = _towards(self.looks[rows], seen.looks[of], counts / following.looks_s)
        self.votes[rows] *= np.exp(-counts / following.votes_s)

    def _begin(self, rows: Ints, seen: Sightings, of: Rows, next_id: int, now_s: float) -> None:
        """Written to the copy that `noted` makes."""
        self.ids[rows] = np.arange(next_id, next_id + len(rows))
        self.born_s[rows], self.sightings[rows] = now_s, 0
        self.velocities[rows], self.votes[rows] = 0.0, 0.0
        self.sizes[rows], self.colors[rows] = seen.sizes[of], seen.colors[of]
        self.looks[rows] = seen.looks[of]


def mask_colors(cut_out: Sequence[tuple[NDArray[np.bool_], NDArray[np.float32]]]) -> Floats:
    """Mean colours of the upper and the lower half of n masks: CIELAB (D65) with L from 0 to 255, (n, 6). Where a half
    is empty, of the other.

    `cut_out`: the rectangle around each, of the mask (h, w) and of the picture (h, w, 3), RGB, 0 to 255.
    """
    means = np.empty((len(cut_out), 2, 3), dtype=np.float32)
    for i, (inside, picture) in enumerate(cut_out):
        middle = len(inside) // 2
        upper, lower = picture[:middle][inside[:middle]], picture[middle:][inside[middle:]]
        means[i, 0] = (upper if upper.size else lower).mean(0, dtype=np.float64)
        means[i, 1] = (lower if lower.size else upper).mean(0, dtype=np.float64)
    if not len(means):
        return np.zeros((0, 6))
    lab = np.asarray(cv2.cvtColor(means / 255, cv2.COLOR_RGB2LAB), dtype=np.float64)
    lab[..., 0] *= 2.55
    return lab.reshape(-1, 6)


def _towards(old: Floats, new: Floats, time_constants: Floats) -> Floats:
    """A running mean after so many time constants (n, 1)."""
    return np.asarray(new + np.exp(-time_constants) * (old - new))


def centers_of(boxes: Floats) -> Floats:
    """(n, 4) -> (n, 2)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def sizes_of(boxes: Floats) -> Floats:
    """(n, 4) -> width and height (n, 2), never zero."""
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
