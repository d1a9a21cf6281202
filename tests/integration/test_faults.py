"""The most telling faults of `make faults`, shorter: each is noticed and got over, and no other camera feels it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.suite import FAULTS, run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CALM_S = 1.0
BRIEF = [replace(fault, hold_s=fault.brief_s) for fault in FAULTS if fault.brief_s is not None]


async def test_a_fault_of_one_camera_is_got_over_and_stays_with_it(tmp_path: Path) -> None:
    rows = await run(BRIEF, tmp_path, calm_s=CALM_S)
    assert {row.fault: row.problems for row in rows if row.problems} == {}
