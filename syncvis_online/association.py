"""How a window's video queries become those of the windows before: which query answers for which slot.

One interface, two ways so far. `propagate`: the queries themselves are carried (GenVIS), so slot j is query j.
`cosine`: every window starts from the learned queries, and slots find their queries by similarity (MinVIS, Huang et
al., NeurIPS 2022), which needs no training on video. Knows nothing of scores, masks and the life of a slot.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from syncvis_online.memory import Memory
from syncvis_online.model import SyncVIS


class Association(Protocol):
    """Called once before and once after a window is decoded."""

    carries_free: bool
    """Whether a free slot, too, keeps the query that answered for it; else it starts each window as learned."""

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """v0 (B, N, C) of B windows from the queries that their slots hold (B, N, C), and from their memory."""
        ...

    def assign(self, carried: Tensor, decoded: Tensor) -> NDArray[np.int64]:
        """The row of `decoded` (N, C), v after the window, that answers for each slot; `carried` (N, C) as before."""
        ...


class Propagate:
    """v0 = p + W_v p + z; slot j is query j."""

    carries_free = False

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """See `Association`."""
        return model.carry(carried, memory)

    def assign(self, carried: Tensor, decoded: Tensor) -> NDArray[np.int64]:
        """See `Association`."""
        return np.arange(len(decoded))


class Cosine:
    """v0 = q + W_v q of the learned queries; the pairs of slots and queries with the largest sum of cosines."""

    carries_free = True

    def start(self, model: SyncVIS, carried: Tensor, memory: Memory | None) -> Tensor:
        """See `Association`."""
        return model.carry(model.decoder.video_query.expand_as(carried))

    def assign(self, carried: Tensor, decoded: Tensor) -> NDArray[np.int64]:
        """See `Association`."""
        a, b = (torch.nn.functional.normalize(x.float(), dim=-1) for x in (carried, decoded))
        rows, columns = linear_sum_assignment((a @ b.T).cpu().numpy(), maximize=True)
        found: NDArray[np.int64] = columns[np.argsort(rows)]
        return found


ASSOCIATIONS: dict[str, Association] = {"propagate": Propagate(), "cosine": Cosine()}
