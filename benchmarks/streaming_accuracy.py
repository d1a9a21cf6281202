"""What being late costs: accuracy of what was known at each moment, by how many frames a second are looked at.

`python -m benchmarks.streaming_accuracy [--data SPEC] [--model NAME ...] [--engines torch openvino]
[--settings "KEY=VALUE ..." ...] [--rates FPS ...] [--threads N] [--json FILE] [--plot FILE]`

Plays each video at its own pace through the live pipeline (`eval --mode live`), once for each model, settings of its
tracker, engine and rate, and beside that as fast as it goes without being late (`eval`), which is the most that can be
reached. Takes as long as the videos do, once for each row; on a machine that does something else the figures are of
what is left of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.quality_per_ms import settings_of
from benchmarks.report import add_outputs, lines
from benchmarks.side_by_side import machine
from stream.engine import TrackerEngine
from stream.live_evaluation import LiveTracker
from syncvis_online.evaluation.run import evaluate, write_result
from syncvis_online.online import load_tracker

DATA = "synthetic:medium?seeds=9000-9004&frames=80"
COLUMNS = ("AP", "AP50", "HOTA", "IDF1")


@dataclass(frozen=True)
class Way:
    """One way of running a model: `settings` of its tracker as "KEY=VALUE ...", "" as it ships."""

    model: str
    engine: str
    settings: str = ""

    def __str__(self) -> str:
        return ", ".join(part for part in (self.model, self.engine, self.settings) if part)


def rows_of(
    way: Way, rates: Sequence[float | None], data: str, threads: int | None
) -> Iterator[dict[str, Any]]:
    """One row for each rate: live at so many frames a second, or with nothing late where that is None."""
    loaded = load_tracker(way.model, engine=way.engine, threads=threads, settings=settings_of(way.settings))
    for rate in rates:
        live = None if rate is None else LiveTracker(TrackerEngine(loaded), rate)
        figures = evaluate(data, lambda live=live: live or loaded, progress=True)  # type: ignore[misc]
        row: dict[str, Any] = {"way": str(way), "engine": str(loaded.runtime.info), "rate": rate}
        row |= {key: round(figures[key], 4) for key in COLUMNS}
        yield row if live is None else {**row, **live.figures(), "rate": rate}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    body = [
        [
            row["way"],
            "not late" if row["rate"] is None else f"{row['rate']:g}",
            *(f"{row[key]:.3f}" for key in COLUMNS),
            *(
                ("", "")
                if row["rate"] is None
                else (f"{row['frames_answered']} of {row['frames_offered']}", row["latency_ms"]["p50"])
            ),
        ]
        for row in rows
    ]
    return tabulate(body, headers=["", "frames/s", *COLUMNS, "answered", "latency p50, ms"])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against rate, a line for each way; dashed: with nothing late."""
    late = {
        way: [(row["rate"], row["HOTA"]) for row in rows if row["way"] == way and row["rate"] is not None]
        for way in dict.fromkeys(row["way"] for row in rows)
    }
    best = {row["way"]: row["HOTA"] for row in rows if row["rate"] is None}
    lines(late, path, x="frames looked at, per second", y="streaming HOTA", levels=best)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default=DATA, metavar="SPEC")
    parser.add_argument("--model", nargs="+", default=["default"])
    parser.add_argument("--engines", nargs="+", default=["auto"], choices=["auto", "torch", "openvino"])
    parser.add_argument("--settings", nargs="+", default=[""], metavar="KEY=VALUE ...")
    parser.add_argument("--rates", nargs="+", type=float, default=[1.0, 2.5, 5.0, 10.0])
    parser.add_argument("--threads", type=int)
    add_outputs(parser)
    arguments = parser.parse_args()
    ways = [Way(*each) for each in product(arguments.model, arguments.engines, arguments.settings)]
    rows = []
    for way in ways:
        for row in rows_of(way, (None, *arguments.rates), arguments.data, arguments.threads):
            rows.append(row)
            if arguments.json is not None:
                write_result(arguments.json, {"data": arguments.data, "machine": machine(), "rows": rows})
    print(table(rows))
    if arguments.plot is not None:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
