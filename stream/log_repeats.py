"""Log records that say the same again and again: the first few, then how many more there were.

Owns what counts as the same, and the count. Writes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST = 5
PERIOD_S = 60.0
MOST_KINDS = 1000
"""So many kinds of records are told apart at a time; beyond that all are wanted."""

Kind = tuple[str, int, str, str]


@dataclass(slots=True)
class _Seen:
    since_s: float
    count: int
    newest: logging.LogRecord


class Repeats:
    """In `period_s`, `first` records of a kind are wanted. Of one camera those are of a kind that one line of code
    writes, whatever it fills in; all others when they say the same. `now_s`: a clock in seconds.
    """

    def __init__(
        self, first: int = FIRST, period_s: float = PERIOD_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._first, self._period_s, self._now_s = first, period_s, now_s
        self._seen: dict[Kind, _Seen] = {}

    def wanted(self, record: logging.LogRecord, camera: str | None) -> bool:
        """Whether to write it; one that is not is counted."""
        kind = (record.name, record.levelno, camera or "", str(record.msg) if camera else record.getMessage())
        seen = self._seen.get(kind)
        if seen is None:
            if len(self._seen) < MOST_KINDS:
                self._seen[kind] = _Seen(self._now_s(), 1, record)
            return True
        seen.count += 1
        seen.newest = record
        return seen.count <= self._first

    def over(self, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """What has to be told of those whose period is over: a record for each kind of which some were left out, with
        what the newest of them said.
        """
        now_s, told = self._now_s(), []
        for kind, seen in tuple(self._seen.items()):
            if all_of_them or now_s - seen.since_s >= self._period_s:
                del self._seen[kind]
                if seen.count > self._first:
                    told.append(_summary(seen, seen.count - self._first, now_s - seen.since_s))
        return told


def _summary(seen: _Seen, count: int, during_s: float) -> logging.LogRecord:
    newest = seen.newest
    said = f"{count} more like this in {during_s:.0f} s, the newest: {newest.getMessage()}"
    record = logging.LogRecord(newest.name, newest.levelno, newest.pathname, newest.lineno, said, (), None)
    record.__dict__["about"] = newest.__dict__.get("about", {})
    return record
