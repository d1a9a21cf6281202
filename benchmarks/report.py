"""What a benchmark leaves behind beside its table: its figures as JSON, and a picture of them. The same for all.

Owns the options `--json` and `--plot`, and how figures are drawn. Knows no benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Points = Sequence[tuple[float, float]]


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The options `--json FILE` and `--plot FILE`, each None where it is not given."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are written")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where they are drawn: .png, .svg or .pdf")


@contextmanager
def axes(path: Path, size: tuple[float, float], **settings: Any) -> Iterator[Any]:
    """Axes of matplotlib to draw on, `size` in inches; what was drawn is written to `path` in the end."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, drawn = plt.subplots(figsize=size, layout="constrained")
    try:
        drawn.set(**settings)
        yield drawn
        drawn.grid(alpha=0.3)
        drawn.set_axisbelow(True)
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)


def lines(
    series: Mapping[str, Points],
    path: Path,
    *,
    x: str,
    y: str,
    doubling: bool = False,
    levels: Mapping[str, float] | None = None,
) -> None:
    """One line through the points of each series; `x` and `y` name the axes with their units. `doubling`: of what
    grows by factors of two, with a tick for each value. `levels`: values that hold for every x, dashed, in the colour
    of the series of that name.
    """
    with axes(path, (7, 4.5), xlabel=x, ylabel=y) as drawn:
        for name, points in series.items():
            (line,) = drawn.plot(*zip(*points, strict=True), "o-", label=name)
            if levels is not None and name in levels:
                drawn.axhline(levels[name], linestyle="--", color=line.get_color())
        if doubling:
            values = sorted({value for points in series.values() for value, _ in points})
            drawn.set_xscale("log", base=2)
            drawn.set_xticks(values, [f"{value:g}" for value in values])
            drawn.minorticks_off()
        drawn.set_ylim(bottom=0)
        drawn.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)


def stacked(rows: Mapping[str, Mapping[str, float]], path: Path, *, x: str) -> None:
    """One bar for each row, put together of its parts; `x` names the axis with its unit."""
    with axes(path, (7.5, 1.5 + 0.45 * len(rows)), xlabel=x) as drawn:
        names, left = list(rows), [0.0] * len(rows)
        for part in dict.fromkeys(part for row in rows.values() for part in row):
            widths = [row.get(part, 0.0) for row in rows.values()]
            drawn.barh(names, widths, left=left, label=part)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        drawn.invert_yaxis()
        drawn.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)


def bars(values: Mapping[str, float], path: Path, *, x: str) -> None:
    """One bar for each value; `x` names the axis with its unit."""
    with axes(path, (7, 1 + 0.5 * len(values)), xlabel=x, xlim=(0, None)) as drawn:
        drawn.bar_label(drawn.barh(list(values), list(values.values())), fmt="%.1f", padding=3)
        drawn.invert_yaxis()
        drawn.margins(x=0.12)


def labelled(values: Mapping[str, tuple[float, float]], path: Path, *, x: str, y: str) -> None:
    """A point with its name for each value (x, y)."""
    with axes(path, (7, 4.5), xlabel=x, ylabel=y) as drawn:
        for name, point in values.items():
            drawn.plot(*point, "o")
            drawn.annotate(name, point, xytext=(5, 4), textcoords="offset points")
        drawn.set_xlim(left=0)
        drawn.margins(x=0.2)
