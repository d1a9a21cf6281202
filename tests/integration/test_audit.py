"""`make audit` fails for a known weakness, and never says that all is well where nobody was asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit.py"
sys.path.insert(0, str(SCRIPT.parent))

from audit import verdict  # noqa: E402

WEAK = {
    "name": "a",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
FINE, SKIPPED = {"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "no answer"}


def test_a_known_weakness_is_named_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict([FINE, WEAK, SKIPPED], strict=False) == 1
    out, err = capsys.readouterr()
    assert "audit: 2 packages asked for, 2 known weaknesses" in out
    assert "a 1: PYSEC-1, fixed in 2" in err
    assert "a 1: PYSEC-2, fixed in no version yet" in err


def test_who_was_not_asked_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict([FINE], strict=True) == 0
    assert [verdict([FINE, SKIPPED], strict=strict) for strict in (False, True)] == [0, 1]
    assert "NOT asked for (no answer): 1" in capsys.readouterr().err


@pytest.mark.parametrize("strict", ["", "1"])
def test_without_pip_audit_a_build_goes_on_unless_it_must_not(strict: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "no-such-file.txt"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AUDIT_STRICT": strict},
    )
    assert done.returncode == len(strict)
    assert "could not be run" in done.stderr
