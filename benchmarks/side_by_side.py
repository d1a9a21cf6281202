"""Systems measured beside each other in one run, in turn: what else the machine does meets all of them alike.

Owns turns, times, ratios and what is said of the machine. Knows nothing of the systems.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch


@dataclass(frozen=True, slots=True)
class Spent:
    """What some frames took: seconds of the wall, and of all processors together."""

    frames: int
    wall_s: float
    cpu_s: float

    @property
    def wall_ms(self) -> float:
        """Milliseconds of the wall a frame; infinite where no frame was answered."""
        return 1000 * self.wall_s / self.frames if self.frames else float("inf")

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time a frame; infinite where no frame was answered."""
        return 1000 * self.cpu_s / self.frames if self.frames else float("inf")

    @property
    def frames_per_s(self) -> float:
        """Frames answered in a second of the wall."""
        return self.frames / self.wall_s


class Stopwatch:
    """Processor time of this process, all its threads, in seconds, spent in calls of methods: `seconds` by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def watch(self, owner: object, method: str, name: str = "") -> None:
        """From now on, calls of `owner`'s own method count under `name`, the method's where that is empty."""
        called, name = getattr(owner, method), name or method

        def timed_call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return called(*args, **kwargs)
            finally:
                self.seconds[name] += time.process_time() - began

        setattr(owner, method, timed_call)

    def reset(self) -> None:
        """Count anew."""
        self.seconds.clear()


Measure = Literal["wall_ms", "cpu_ms", "frames_per_s"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two systems: the median of all rounds, and the rounds that are farthest from it."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, above: Sequence[Spent], below: Sequence[Spent], measure: Measure) -> Ratio:
        """`above` over `below`, round by round; raises ValueError for different numbers of rounds."""
        each = [getattr(a, measure) / getattr(b, measure) for a, b in zip(above, below, strict=True)]
        return cls(*(round(x, 3) for x in (median(each), min(each), max(each))))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def timed(work: Callable[[], object], frames: int = 1) -> Spent:
    """What a call in this process takes, all of its threads counted; on a GPU until that is done."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Spent(frames, time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(
    systems: Mapping[str, Callable[[], Spent]],
    rounds: int,
    tell: Callable[[str, Spent], None] = lambda name, spent: None,
) -> dict[str, list[Spent]]:
    """Each system once a round, forward and backward in turn, so that none always comes after the same one."""
    spent: dict[str, list[Spent]] = {name: [] for name in systems}
    for index in range(rounds):
        for name in list(systems) if index % 2 == 0 else reversed(list(systems)):
            spent[name].append(systems[name]())
            tell(name, spent[name][-1])
    return spent


def summary(spent: Sequence[Spent]) -> dict[str, Any]:
    """The medians of all rounds of one system."""
    return {
        "rounds": len(spent),
        "frames": sum(each.frames for each in spent),
        "wall_ms": round(median(each.wall_ms for each in spent), 2),
        "cpu_ms": round(median(each.cpu_ms for each in spent), 2),
        "frames_per_s": round(median(each.frames_per_s for each in spent), 2),
    }


def machine() -> dict[str, Any]:
    """On what it was measured, and how busy that was with everything (a load of 0 is idle)."""
    told = {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    return {**told, "measured_at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC"}


def _processor() -> str:
    """Its name, and the instructions that matter to a model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(values.get("flags", "").split())
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in flags]
    return f"{values.get('model name', platform.processor())} ({', '.join(known) or 'no AVX2'})"
