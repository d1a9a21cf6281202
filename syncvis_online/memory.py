"""What a slot remembers: a bounded ring of keys and values, read by its own query only (GenVIS, CVPR 2023, sec. 3.3).

A query that was last seen before an occlusion has its own past to compare with, not only its last state. GenVIS keeps
every clip for ever; here the ring is bounded, and written at intervals of time, so that a camera that never ends costs
the same always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Memory:
    """Entries of N slots: `keys` and `values` (..., N, M, C); `used` (..., N, M) bool, which of them were written."""

    keys: Tensor
    values: Tensor
    used: Tensor

    @staticmethod
    def batch(memories: Sequence[Memory]) -> Memory:
        """Those of B streams as one, (B, N, M, ...)."""
        return Memory(
            torch.stack([m.keys for m in memories]),
            torch.stack([m.values for m in memories]),
            torch.stack([m.used for m in memories]),
        )

    @staticmethod
    def stack(entries: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Memory:
        """From one (keys (..., N, C), values (..., N, C), used (..., N)) for each of M times."""
        keys, values, used = zip(*entries, strict=True)
        return Memory(torch.stack(keys, dim=-2), torch.stack(values, dim=-2), torch.stack(used, dim=-1))


class QueryMemory(nn.Module):
    """Reads and makes entries: W_q, W_k and W_v' of docs/model.md. W_v' starts at zero: a memory that says nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.value.weight)

    def entries(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of normalised video queries (..., N, C) after a window."""
        return self.key(seen), self.value(seen)

    def read(self, queries: Tensor, memory: Memory) -> Tensor:
        """z of each slot from its own entries, (..., N, C); exactly zero where none was written.

        There is no 1 / sqrt(C), as in the original: the softmax is close to an argmax, hence float32.
        """
        with torch.autocast(queries.device.type, enabled=False):
            exact = torch.promote_types(queries.dtype, torch.float32)
            asked = nn.functional.linear(queries.to(exact), self.query.weight.to(exact))
            logits = (asked[..., None, :] * memory.keys.to(exact)).sum(-1)
            hidden = torch.finfo(logits.dtype).min  # not -inf: a softmax over nothing would be NaN
            share = logits.masked_fill(~memory.used, hidden).softmax(-1) * memory.used
            z = (share[..., None] * memory.values.to(exact)).sum(-2)
        return z.to(queries.dtype)
