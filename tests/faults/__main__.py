"""Do all faults, one after the other, and print the table. Exit code 1: something is not as it must be."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.faults import names
from tests.faults.stage import NAME_OF_ENGINE
from tests.faults.suite import FAULTS, run
from tests.faults.table import cells, head, line
from tests.faults.trial import Fault, Row

CALM_S = 5.0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="WORD", help="faults with a word in their name"
    )
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    words = arguments.only
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if not chosen:
        parser.error("no fault has such a name; there are: " + "; ".join(fault.name for fault in FAULTS))
    with tempfile.TemporaryDirectory() as folder:
        if not names.may_change():
            again = names.run_again_in_namespace(Path(folder), ["-m", "tests.faults", *sys.argv[1:]])
            if again is not None:
                return again
            print("host names cannot be changed here (unshare --mount): faults that need that are left out")
            chosen = [fault for fault in chosen if not fault.needs_names]
        else:
            names.set_known(True)
        return done(chosen, Path(folder), arguments.json)


def done(chosen: list[Fault], folder: Path, report_to: Path | None) -> int:
    """Do them; the exit code."""
    logging.getLogger("stream").setLevel(logging.CRITICAL)  # that cameras fail is no news here
    print(f"model: {NAME_OF_ENGINE}\n\n{head()}", flush=True)
    told = run(chosen, folder, calm_s=CALM_S, told=lambda row: print(line(cells(row)), flush=True))
    rows = asyncio.run(told)
    if report_to is not None:
        report_to.write_text(json.dumps(report(rows), indent=1) + "\n", encoding="utf-8")
    return int(any(row.problems or row.doubts for row in rows))


def report(rows: list[Row]) -> dict[str, object]:
    """The rows, and what they were measured on."""
    about = {
        "model": NAME_OF_ENGINE,
        "processors": os.cpu_count(),
        "load_at_the_end": [round(each, 1) for each in os.getloadavg()],
        "python": platform.python_version(),
    }
    return {"about": about, "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    sys.exit(main())
