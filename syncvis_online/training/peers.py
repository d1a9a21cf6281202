"""Processes that train one model: each takes a share of every batch, gradients are averaged.

`accelerate` knows which device a process has and how processes talk; they are started by `accelerate launch` (several
GPUs, several machines) or, on a CPU, by `start`: where cores are shared with other work, processes of one thread each
waste less than one process whose threads wait for each other at every operator.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.multiprocessing.spawn import start_processes

from syncvis_online.errors import ConfigError

GRACE_S = 10.0
"""Between the interruption of a process whose parent has ended and its end."""


def launched_processes() -> int:
    """How many processes a launcher (`accelerate launch`, torchrun) has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device() -> torch.device:
    """What a process that is alone trains on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, slots=True)
class Peers:
    """Which of `count` processes this is, and the device that is its own. By default it is the only one."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=own_device)

    @classmethod
    def join(cls, **group: Any) -> Peers:
        """Meet the others; `group`: where, for torch's init_process_group (a launcher says it by environment)."""
        try:  # an extra: one process trains without it
            from accelerate import PartialState
        except ImportError as error:
            raise ConfigError(
                "training with several processes needs accelerate (pip install 'syncvis-online[train]')"
            ) from error
        state = PartialState(cpu=not torch.cuda.is_available(), **group)
        # accelerate numbers processors ("cpu:0"), which torch.load does not know.
        device = state.device if state.device.type != "cpu" else torch.device("cpu")
        return cls(state.process_index, state.num_processes, device)

    @property
    def first(self) -> bool:
        """The one that writes files and shows progress."""
        return self.rank == 0

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by the mean over the processes, in one message.

        Not DistributedDataParallel: a step calls the model's parts window by window, never its `forward`, and not
        every structure of the decoder uses every parameter.
        """
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
        flag = torch.tensor(float(here), device=self.device)
        torch.distributed.all_reduce(flag)
        return bool(flag)

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The others wait until the first one is through: it makes the files that they will find."""
        if self.count > 1 and not self.first:
            torch.distributed.barrier()
        yield
        if self.count > 1 and self.first:
            torch.distributed.barrier()

    def leave(self) -> None:
        """Part from the others, when all is done."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def start(work: Callable[[Peers], None], count: int) -> None:
    """Run `work` in `count` processes of this machine that can average gradients, and wait for all.

    Without GPUs they are forks of one process that has imported what they need and done nothing else: it is imported
    once, however many they are and however often this process starts some. CUDA does not outlive a fork: with GPUs each
    begins anew. Raises ConfigError when the machine has GPUs, but fewer than `count`.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < count:
        raise ConfigError(f"processes: {count} are wanted, and there are {gpus} GPUs")
    # The second is what torch's optimizers import when the first one is made, and takes as long as all of torch.
    multiprocessing.set_forkserver_preload(["syncvis_online.training.loop", "torch._dynamo"])
    with tempfile.TemporaryDirectory() as folder:
        start_processes(
            partial(_peer, work=work, count=count, store=str(Path(folder) / "store")),
            nprocs=count,
            start_method="spawn" if gpus else "forkserver",
        )


def _end_with_parent() -> None:
    """End this process when the one that started it ends, however it does: the system tells only a parent's own
    children, and a fork is the child of the process that it was forked from. It is interrupted, so that it leaves
    nothing half-done; where it does not hear of that, as it waits for the others, it ends all the same.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    # What a shell runs in the background ignores interrupts, and so does all that it starts.
    hears = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN

    def watch() -> None:
        parent.join()
        if hears:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _peer(rank: int, work: Callable[[Peers], None], count: int, store: str) -> None:
    _end_with_parent()
    threads = max(1, torch.get_num_threads() // count)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(threads),
    }
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    torch.set_num_threads(threads)
    peers = Peers.join(init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        work(peers)
    finally:
        peers.leave()
