"""The rows of a run as a table for people (Markdown) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.trial import Row

HEAD = (
    "fault",
    "detected after",
    "seen as",
    "recovered after",
    "frames lost",
    "its delay: before, worst, after",
    "siblings' p99, before → during",
    "siblings' longest pause, frames lost",
    "",
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts."""
    remarks = (*row.notes, *(f"**{wrong}**" for wrong in (*row.problems, *row.doubts)))
    return (
        row.fault,
        _seconds(row.detected_s),
        row.seen_as or "–",
        _seconds(row.recovered_s),
        str(row.frames_lost),
        f"{_ms(row.delay_before_ms)}, {_ms(row.delay_worst_ms)}, {_ms(row.delay_after_ms)} ms",
        f"{_ms(row.siblings_p99_before_ms)} → {_ms(row.siblings_p99_during_ms)} ms",
        f"{row.siblings_pause_ms} ms, {row.siblings_lost}",
        "; ".join(remarks),
    )


def line(texts: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(texts)} |"


def head() -> str:
    """The first two lines of the table."""
    return f"{line(HEAD)}\n{line(['---'] * len(HEAD))}"


def _ms(value_ms: int | None) -> str:
    return "–" if value_ms is None else str(value_ms)


def _seconds(value_s: float | None) -> str:
    return "–" if value_s is None else f"{value_s:.2f} s"
