"""What being late costs: accuracy of what was known at each moment, by how many frames a second are looked at.

`python -m benchmarks.streaming_accuracy [--data SPEC] [--model NAME ...] [--rates FPS ...] [--threads N] [--json FILE]
[--plot FILE]`

Plays each video at its own pace through the live pipeline (`eval --mode live`), once for each model and rate, and
beside that as fast as it goes without being late (`eval`), which is the most that can be reached. Takes as long as the
videos do, once for each row; on a machine that does something else the figures are of what is left of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.report import add_outputs, lines
from stream.engine import TorchEngine
from stream.live_evaluation import LiveTracker
from syncvis_online.evaluation.run import evaluate, write_result
from syncvis_online.online import load_tracker

DATA = "synthetic:medium?seeds=9000-9004&frames=80"
COLUMNS = ("AP", "AP50", "HOTA", "IDF1")


def row_of(model: str, rate: float | None, data: str, threads: int | None) -> dict[str, Any]:
    """One run: live at `rate` frames a second, or with nothing late where that is None."""
    loaded = load_tracker(model, threads=threads)
    live = None if rate is None else LiveTracker(TorchEngine(loaded), rate)
    figures = evaluate(data, lambda: live or loaded, progress=True)
    row: dict[str, Any] = {"model": model, "device": str(loaded.device), "rate": rate}
    row |= {key: round(figures[key], 4) for key in COLUMNS}
    return row if live is None else {**row, **live.figures(), "rate": rate}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    body = [
        [
            row["model"],
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
    return tabulate(body, headers=["model", "frames/s", *COLUMNS, "answered", "latency p50, ms"])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against rate, a line for each model; dashed: with nothing late."""
    late = {
        model: [
            (row["rate"], row["AP50"]) for row in rows if row["model"] == model and row["rate"] is not None
        ]
        for model in dict.fromkeys(row["model"] for row in rows)
    }
    best = {row["model"]: row["AP50"] for row in rows if row["rate"] is None}
    lines(late, path, x="frames looked at, per second", y="streaming AP50", levels=best)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default=DATA, metavar="SPEC")
    parser.add_argument("--model", nargs="+", default=["default"])
    parser.add_argument("--rates", nargs="+", type=float, default=[1.0, 2.5, 5.0, 10.0])
    parser.add_argument("--threads", type=int)
    add_outputs(parser)
    arguments = parser.parse_args()
    rows = []
    for model in arguments.model:
        for rate in (None, *arguments.rates):
            rows.append(row_of(model, rate, arguments.data, arguments.threads))
            if arguments.json is not None:
                write_result(arguments.json, {"data": arguments.data, "rows": rows})
    print(table(rows))
    if arguments.plot is not None:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
