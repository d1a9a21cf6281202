"""Hungarian matching of queries to instances, and the labels that persist over windows (UVLA).

Training only. Costs are Mask2Former's: class, mask BCE and dice, on every cell of a coarse mask grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

OCCUPIED_COST = 1e5
"""Added to the cost of a query that holds another identity (GenVIS); a match that still falls on it is dropped."""


@dataclass(frozen=True, slots=True)
class MatchWeights:
    """Weights of the three costs (Mask2Former: 2, 5, 5)."""

    label: float = 2.0
    bce: float = 5.0
    dice: float = 5.0


@torch.no_grad()
def match_costs(
    logits: Tensor, masks: Tensor, labels: Tensor, targets: Tensor, valid: Tensor, weights: MatchWeights
) -> NDArray[np.float32]:
    """Cost of every query-instance pair, (D, G, N, I) for D depths and G samples.

    logits (D, G, N, K+1); masks (D, G, N, P) mask logits on P cells; labels (G, I); targets (G, I, P) in [0, 1];
    valid (G, P), 0 where a cell is not counted.
    """
    masks, targets = masks.float(), targets.float() * valid[:, None]
    index = labels[None, :, None].expand(logits.shape[0], -1, logits.shape[2], -1)
    label = -logits.float().softmax(-1).gather(-1, index)
    outside = valid[:, None] - targets  # counted cells that are not the instance
    cells = valid.sum(-1).clamp(min=1.0)[:, None, None]
    to = targets.transpose(-1, -2)
    if_inside = F.softplus(-masks)  # and softplus(x) = softplus(-x) + x
    bce = (if_inside @ to + (if_inside + masks) @ outside.transpose(-1, -2)) / cells
    probability = masks.sigmoid() * valid[:, None]
    dice = 1 - (2 * (probability @ to) + 1) / (probability.sum(-1)[..., None] + targets.sum(-1)[:, None] + 1)
    total: NDArray[np.float32] = (
        (weights.label * label + weights.bce * bce + weights.dice * dice).cpu().numpy()
    )
    return np.nan_to_num(total, nan=1e4, posinf=1e4, neginf=-1e4)


def assign(cost: NDArray[np.float32], candidates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Hungarian assignment of the candidate instances (I,) by cost (N, I): instance of each query or -1, (N,)."""
    result = np.full(cost.shape[0], -1, dtype=np.int64)
    columns = np.flatnonzero(candidates)
    rows, picked = linear_sum_assignment(cost[:, columns])
    result[rows] = columns[picked]
    return result


def extend_assignment(
    previous: NDArray[np.int64], cost: NDArray[np.float32], present: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Unified video label assignment (GenVIS) for one more window of one video.

    `previous` (N,): the instance that each query holds, or -1; kept, also while the instance is out of sight.
    Instances in sight (`present`, (I,)) that no query holds yet are matched to queries that are free; the cost
    of an occupied query is raised, and a match that still falls on one is dropped.
    """
    held = previous >= 0
    new = present.copy()
    new[previous[held]] = False
    if not new.any():
        return previous
    matched = assign(cost + np.where(held, OCCUPIED_COST, 0.0)[:, None].astype(np.float32), new)
    return np.where(held, previous, matched)
