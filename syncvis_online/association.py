"""How a window's video queries become those of the windows before: which query answers for which slot.

One interface. `propagate` carries the queries themselves (GenVIS), so slot j is query j; `propagate_iou` (ours) carries
them too, and where a query is no longer on what it was on, the identity follows the mask. The others start every
window from the learned queries, and slots find theirs among what comes out: by similarity (`cosine`, MinVIS), by the
overlap of masks on a frame that both windows hold (`iou`, as clips are stitched in IFC and VisTR), by similarity and
the layout of the objects together (`graph`, GMP-VIS). Knows nothing of the life of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, quadratic_assignment
from torch import Tensor

from syncvis_online.features import mask_logits
from syncvis_online.memory import Memory
from syncvis_online.model import SyncVIS

NONE = -1
"""In an assignment: no query answers for the slot."""
LIKELY = 0.1
"""Confidence from which a query may be what a slot holds; less is asked only where there are fewer than slots."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared: `queries` (N, C) and mask embeddings `embeds` (N, Cm) of slots, or of a window's queries."""

    queries: Tensor
    embeds: Tensor

    def masks(self, maps: Tensor, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Those of some rows (M,) on a frame with mask features (Cm, h, w): (M, h, w)."""
        embeds = self.embeds[torch.from_numpy(rows).to(maps.device)]
        inside: NDArray[np.bool_] = (mask_logits(embeds, maps) > 0).cpu().numpy()
        return inside


class Association(Protocol):
    """Called once before and once after a window is decoded."""

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """v0 (B, N, C) of B windows from the queries that their slots hold (B, N, C), and from their memory."""
        ...

    def assign(
        self, slots: Side, found: Side, held: NDArray[np.bool_], confidence: NDArray[np.float32], maps: Tensor
    ) -> NDArray[np.int64]:
        """The query of the window that answers for each slot, or NONE, (N,); each query at most once.

        `slots`: of when each was last seen; `found`: of the window; `held` (N,): slots that hold an object;
        `confidence` (N,): of the window's queries; `maps` (Cm, h, w): mask features of the newest frame that the window
        before held too, or of this window's first.
        """
        ...


class Propagate:
    """v0 = p + W_v p + z; slot j is query j."""

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """See `Association`."""
        return model.carry(carried, memory)

    def assign(
        self, slots: Side, found: Side, held: NDArray[np.bool_], confidence: NDArray[np.float32], maps: Tensor
    ) -> NDArray[np.int64]:
        """See `Association`."""
        return np.arange(len(held))


class _Matched(ABC):
    """v0 = q + W_v q of the learned queries; pairs are found after the window."""

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """See `Association`."""
        return model.carry(model.decoder.video_query.expand_as(carried))

    def assign(
        self, slots: Side, found: Side, held: NDArray[np.bool_], confidence: NDArray[np.float32], maps: Tensor
    ) -> NDArray[np.int64]:
        """See `Association`: pairs for the slots that hold an object; free slots take the queries that are left."""
        rows = np.flatnonzero(held)
        if not rows.size:
            return np.arange(len(held))
        by_confidence = np.argsort(-confidence, kind="stable")
        likely = by_confidence[: max(len(rows), np.count_nonzero(confidence >= LIKELY))]
        pairs = self.pairs(slots, found, rows, likely, maps)
        return _order(rows[pairs[:, 0]], likely[pairs[:, 1]], held, confidence)

    @abstractmethod
    def pairs(
        self, slots: Side, found: Side, rows: NDArray[np.intp], likely: NDArray[np.intp], maps: Tensor
    ) -> NDArray[np.intp]:
        """(M, 2): places in `rows`, which are the slots that hold an object, and in `likely`, which are queries."""


def _order(
    slots: NDArray[np.intp],
    queries: NDArray[np.intp],
    held: NDArray[np.bool_],
    confidence: NDArray[np.float32],
) -> NDArray[np.int64]:
    """What `assign` gives, from pairs for slots that hold an object: the most confident of the other queries go to the
    free slots, its own to each if it can be.
    """
    order = np.full(len(held), NONE)
    order[slots] = queries
    left = np.setdiff1d(np.arange(len(order)), order)
    left = left[np.argsort(-confidence[left], kind="stable")][: np.count_nonzero(~held)]
    own = left[~held[left]]
    order[own] = own
    order[~held & (order == NONE)] = np.setdiff1d(left, own)
    return order


class Cosine(_Matched):
    """The pairs of slots and queries with the largest sum of cosines (MinVIS, Huang et al., NeurIPS 2022)."""

    def pairs(
        self, slots: Side, found: Side, rows: NDArray[np.intp], likely: NDArray[np.intp], maps: Tensor
    ) -> NDArray[np.intp]:
        """See `_Matched`."""
        return _best_pairs(_cosines(slots.queries, found.queries)[np.ix_(rows, likely)])


class Overlap(_Matched):
    """The pairs with the largest sum of mask IoU on one frame (IFC, Hwang et al., NeurIPS 2021, section 3.3).

    A slot whose mask no query's overlaps by at least `least` has no pair.
    """

    least = 0.1

    def pairs(
        self, slots: Side, found: Side, rows: NDArray[np.intp], likely: NDArray[np.intp], maps: Tensor
    ) -> NDArray[np.intp]:
        """See `_Matched`."""
        overlap = mask_ious(slots.masks(maps, rows), found.masks(maps, likely))
        pairs = _best_pairs(overlap)
        return pairs[overlap[pairs[:, 0], pairs[:, 1]] >= self.least]


class PropagateOverlap(Propagate):
    """Carried queries, checked on a frame that both windows hold.

    Where objects that look alike cross, a carried query may change over to the other one; its new mask on the shared
    frame shows it. Each slot that holds an object goes to the likely query whose mask there is the most like its own
    of before, its own query having a head start.
    """

    head_start = 0.2
    """Added to the IoU of a slot with its own query."""
    likely = 0.2
    """Confidence from which another query can take a slot over."""

    def assign(
        self, slots: Side, found: Side, held: NDArray[np.bool_], confidence: NDArray[np.float32], maps: Tensor
    ) -> NDArray[np.int64]:
        """See `Association`."""
        rows, asked = np.flatnonzero(held), np.flatnonzero(confidence >= self.likely)
        alike = np.zeros((len(rows), len(held)))
        alike[:, asked] = mask_ious(slots.masks(maps, rows), found.masks(maps, asked))
        alike[np.arange(len(rows)), rows] += self.head_start
        pairs = _best_pairs(alike)
        return _order(rows[pairs[:, 0]], pairs[:, 1], held, confidence)


class Graph(_Matched):
    """Similar queries in a similar layout: a quadratic assignment (GMP-VIS, Yang et al.).

    Nodes are objects and their affinity the cosine of their queries. An edge says how near two objects are, from -1
    (far apart) to 1 (in one place), and the affinity of two edges is their product, so that near ones should stay near
    and far ones far: objects that look alike are told apart by who stands beside them.
    """

    reach = 0.25
    """Distance, as a share of the picture's longer side, at which two objects are neither near nor far."""
    layout = 0.5
    """Weight of the mean affinity of an object's edges, beside 1 for its node."""

    def pairs(
        self, slots: Side, found: Side, rows: NDArray[np.intp], likely: NDArray[np.intp], maps: Tensor
    ) -> NDArray[np.intp]:
        """See `_Matched`."""
        alike = _cosines(slots.queries, found.queries)[np.ix_(rows, likely)]
        left, right = self._edges(slots.masks(maps, rows)), self._edges(found.masks(maps, likely))
        return match_graphs(alike, left * self.layout / max(1, len(rows) - 1), right)

    def _edges(self, masks: NDArray[np.bool_]) -> Matrix:
        """How near the centroids of masks (M, h, w) are, (M, M); 0 with itself and with an empty one."""
        area = masks.sum((1, 2))
        scale = max(masks.shape[1:])
        rows, columns = (np.arange(n) / scale for n in masks.shape[1:])
        centre = np.stack([masks.sum(2) @ rows, masks.sum(1) @ columns], axis=1)
        centre /= np.maximum(area, 1)[:, None]
        squared = ((centre[:, None] - centre[None]) ** 2).sum(-1)
        edges: Matrix = 2.0 * np.exp2(-squared / self.reach**2) - 1.0
        edges *= np.outer(area > 0, area > 0)
        np.fill_diagonal(edges, 0.0)
        return edges


def match_graphs(nodes: Matrix, left: Matrix, right: Matrix) -> NDArray[np.intp]:
    """Pairs (M, 2) of R rows with K >= R columns that maximise sum nodes[i, j] + sum left[i, k] right[j, l].

    `nodes` (R, K); `left` (R, R) and `right` (K, K) symmetric. Solved by FAQ (Vogelstein et al., 2015), and
    exchanges of two (2-opt) from there: a local maximum. FAQ knows no affinity of nodes, so these are written as edges
    to anchors that are matched to themselves: with nodes = U S V^T, row i and anchor k have the edge
    U[i, k] sqrt(S[k]), column j and anchor k V[j, k] sqrt(S[k]).
    """
    R, K = nodes.shape
    u, s, vt = np.linalg.svd(nodes, full_matrices=False)
    root = np.sqrt(s / 2)  # each edge is counted in both directions
    anchors = len(s)
    a, b = np.zeros((2, K + anchors, K + anchors))
    a[:R, :R], b[:K, :K] = left, right
    a[:R, K:], b[:K, K:] = u * root, vt.T * root
    a[K:, :R], b[K:, :K] = a[:R, K:].T, b[:K, K:].T
    seeds = np.arange(K, K + anchors)
    fixed = np.stack([seeds, seeds], axis=1)
    options = {"maximize": True, "partial_match": fixed, "rng": np.random.default_rng(0)}
    start = quadratic_assignment(a, b, method="faq", options=options).col_ind
    guess = np.stack([np.arange(K), start[:K]], axis=1)
    solved = quadratic_assignment(a, b, method="2opt", options={**options, "partial_guess": guess})
    return np.stack([np.arange(R), solved.col_ind[:R]], axis=1)


def _best_pairs(alike: Matrix) -> NDArray[np.intp]:
    """Pairs (M, 2) of rows and columns with the largest sum."""
    pairs: NDArray[np.intp] = np.stack(linear_sum_assignment(alike, maximize=True), axis=1)
    return pairs


def _cosines(a: Tensor, b: Tensor) -> Matrix:
    a, b = (torch.nn.functional.normalize(x.double(), dim=-1) for x in (a, b))
    cosines: Matrix = (a @ b.T).cpu().numpy()
    return cosines


def mask_ious(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Matrix:
    """IoU of every pair of masks, (A, h, w) and (B, h, w) -> (A, B); 0 where both are empty.

    Bits are counted, 64 cells at a time. As a product of matrices it would wake a thread of NumPy's BLAS on each
    processor, which then spins for longer than a frame takes, where the network should be computed.
    """
    x, y = _bits(a), _bits(b)
    common = np.bitwise_count(x[:, None] & y).sum(-1, dtype=np.int64)
    areas = [np.bitwise_count(each).sum(-1, dtype=np.int64) for each in (x, y)]
    ious: Matrix = common / np.maximum(areas[0][:, None] + areas[1] - common, 1)
    return ious


def _bits(masks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Masks (M, h, w), a bit for each cell, (M, words)."""
    packed = np.packbits(masks.reshape(len(masks), prod(masks.shape[1:])), axis=1)
    if missing := -packed.shape[1] % 8:
        packed = np.pad(packed, ((0, 0), (0, missing)))
    return packed.view(np.uint64)


ASSOCIATIONS: dict[str, Association] = {
    "propagate": Propagate(),
    "propagate_iou": PropagateOverlap(),
    "cosine": Cosine(),
    "iou": Overlap(),
    "graph": Graph(),
}
