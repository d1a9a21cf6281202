"""What happens to cameras as machines: they lose power, hang, come back as something else."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator

from tests.faults.stage import Victim
from tests.faults.trial import Fault


async def killed(victim: Victim) -> AsyncGenerator[None]:
    """Power is cut, and comes back."""
    await victim.kill_server()
    yield
    await victim.start_server()


async def stopped(victim: Victim) -> AsyncGenerator[None]:
    """It hangs: its connections stay open, and nothing comes."""
    victim.server.send_signal(signal.SIGSTOP)
    yield
    victim.server.send_signal(signal.SIGCONT)


FAULTS = (
    Fault("server killed, back after 5 s", killed, 5, brief_s=0.5),
    Fault("server stopped (SIGSTOP) for 12 s", stopped, 12),
)
