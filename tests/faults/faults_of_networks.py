"""What networks do."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tests.faults.stage import Victim
from tests.faults.trial import Fault


async def cut(victim: Victim) -> AsyncGenerator[None]:
    """A router has forgotten the connection."""
    victim.proxy.cut()
    yield


FAULTS = (Fault("TCP connection cut by a reset", cut, 2, brief_s=0.5),)
