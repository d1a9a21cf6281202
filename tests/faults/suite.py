"""All faults, and one run of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults import faults_of_decoders, faults_of_networks, faults_of_pictures, faults_of_servers
from tests.faults.stage import stage
from tests.faults.trial import Fault, Row, attempt

FAULTS: tuple[Fault, ...] = (
    *faults_of_servers.FAULTS,
    *faults_of_networks.FAULTS,
    *faults_of_pictures.FAULTS,
    *faults_of_decoders.FAULTS,
)


async def run(
    faults: Iterable[Fault], folder: Path, *, calm_s: float, told: Callable[[Row], object] = lambda row: None
) -> list[Row]:
    """Some faults, one after the other, on one service; `told` of each when it is over."""
    rows = []
    async with stage(folder) as scene:
        for fault in faults:
            rows.append(await attempt(scene, fault, calm_s=calm_s))
            told(rows[-1])
    return rows
