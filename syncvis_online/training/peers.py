"""Processes of one machine that train one model: each takes a share of every batch, gradients are averaged.

On a CPU whose cores are shared with other work, processes of one thread each waste less than one process whose
threads wait for each other at every operator.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed
from torch import nn
from torch.multiprocessing.spawn import spawn as spawn_processes


@dataclass(frozen=True, slots=True)
class Peers:
    """Which of `count` processes this is."""

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """The one that writes files and shows progress."""
        return self.rank == 0

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by the mean over the processes, in one message."""
        if self.count == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, here: bool) -> bool:
        """Whether it is true in any process; all must ask."""
        if self.count == 1:
            return here
        flag = torch.tensor(float(here))
        torch.distributed.all_reduce(flag)
        return bool(flag)


def spawn(work: Callable[[Peers], None], count: int) -> None:
    """Run `work` in `count` processes that can average gradients, and wait for all."""
    with tempfile.TemporaryDirectory() as folder:
        spawn_processes(
            partial(_peer, work=work, count=count, store=str(Path(folder) / "store")), nprocs=count
        )


def _peer(rank: int, work: Callable[[Peers], None], count: int, store: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        work(Peers(rank, count))
    finally:
        torch.distributed.destroy_process_group()
