"""Whether what a server holds has grown, from a census after each round.

Counts must be as they were after the warm-up, to the last one. Memory is noisy (a collector runs when it wants, an
allocator keeps what is free) and caches have to fill (the synthetic camera keeps 48 MiB of sprites): the median of the
last third of the rounds is compared with that of the third before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.soak.soak import WARM_UP, Reading

GROWTH = 0.01
"""Of memory, and of series of metrics (new causes of drops come up), beyond those of the third before."""


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity: after the warm-up, at the end, the least and the most since; whether it is `flat`."""

    name: str
    first: float
    last: float
    least: float
    most: float
    flat: bool

    def __str__(self) -> str:
        values = " | ".join(f"{value:g}" for value in (self.first, self.last, self.least, self.most))
        return f"| {self.name} | {values} | {'flat' if self.flat else '**grew**'} |"


HEAD = "| held at rest | after warm-up | at the end | least | most | |\n|---|---|---|---|---|---|"


def verdict(readings: Sequence[Reading], *, warm_up: int = WARM_UP, growth: float = GROWTH) -> list[Line]:
    """A line for each quantity that a census counts. Raises ValueError for too few readings to compare any."""
    if len(readings) <= warm_up:
        raise ValueError(f"{len(readings)} readings: more than {warm_up} are needed")
    later = readings[warm_up - 1 :]
    lines = [
        _line(later, name, lambda reading, name=name: reading.census.counts[name], unchanged)
        for name in later[0].census.counts
    ]
    lines.append(_line(later, "series of metrics", lambda reading: len(reading.census.sets), within(growth)))
    lines += [
        _line(
            later,
            f"{name}, MiB",
            lambda reading, name=name: round(reading.census.memory_kib[name] / 1024, 1),
            within(growth),
        )
        for name in later[0].census.memory_kib
    ]
    return lines


Judge = Callable[[Sequence[float]], bool]


def unchanged(values: Sequence[float]) -> bool:
    """All are the same."""
    return len(set(values)) == 1


def within(growth: float) -> Judge:
    """The median of the last third is above that of the third before by no more than a share of it."""

    def judge(values: Sequence[float]) -> bool:
        third = max(1, len(values) // 3)
        return median(values[-third:]) <= (1 + growth) * median(values[-2 * third : -third])

    return judge


def _line(readings: Sequence[Reading], name: str, value: Callable[[Reading], float], judge: Judge) -> Line:
    values = [value(reading) for reading in readings]
    return Line(name, values[0], values[-1], min(values), max(values), judge(values))


def of_other_cameras(sets: Iterable[str], names: Iterable[str]) -> set[str]:
    """The label sets that name a camera which is not among `names`."""
    known = set(names)
    return {each for each in sets for camera in re.findall(r'camera="([^"]*)"', each) if camera not in known}
