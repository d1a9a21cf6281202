"""Ask PyPI for known weaknesses of the pinned dependencies: `make audit`, or audit.py PINS.

Ends with 1 where there is one. Where nobody can be asked (no network, no pip-audit) it says so and ends with 0, so that
a build without a network goes on; with AUDIT_STRICT=1 that is a 1 too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

LIMIT_S = 180
"""For all packages together: a network that swallows what is asked must not hold up a build."""


def asked(pins: str) -> list[dict[str, Any]] | None:
    """What pip-audit found of each package; None where it could not be run to its end."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", pins, "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        print(f"audit: no answer within {LIMIT_S} s", file=sys.stderr)
        return None
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"audit: pip-audit could not be run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return found


def verdict(found: list[dict[str, Any]] | None, *, strict: bool) -> int:
    """Tell what was found; the exit code."""
    if found is None:
        return int(strict)
    weak = [(each, weakness) for each in found for weakness in each.get("vulns", ())]
    for each, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
        print(f"audit: {each['name']} {each['version']}: {weakness['id']}, fixed in {fixed}", file=sys.stderr)
    skipped = [each["name"] for each in found if "skip_reason" in each]
    print(f"audit: {len(found) - len(skipped)} packages asked for, {len(weak)} known weaknesses")
    if skipped:
        print(f"audit: NOT asked for (no answer): {len(skipped)} packages", file=sys.stderr)
    return int(bool(weak) or (strict and bool(skipped)))


if __name__ == "__main__":
    sys.exit(verdict(asked(sys.argv[1]), strict=os.environ.get("AUDIT_STRICT") == "1"))
