"""What happens to the processes that decode."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator

import psutil

from tests.faults.stage import Victim
from tests.faults.trial import Fault


async def killed(victim: Victim) -> AsyncGenerator[None]:
    """The system takes its memory back."""
    os.kill(victim.reader_pid(), signal.SIGKILL)
    yield


async def crashed(victim: Victim) -> AsyncGenerator[None]:
    """A picture that no decoder was made for."""
    os.kill(victim.reader_pid(), signal.SIGSEGV)
    yield


async def hung(victim: Victim) -> AsyncGenerator[None]:
    """It answers no more."""
    os.kill(victim.reader_pid(), signal.SIGSTOP)
    yield


async def orphaned(victim: Victim) -> AsyncGenerator[None]:
    """The process that makes the others is gone too, at the same moment."""
    reader = psutil.Process(victim.reader_pid())
    parent = reader.parent()
    assert parent is not None
    parent.kill()
    reader.kill()
    yield


FAULTS = (
    Fault("decoder killed (SIGKILL)", killed, 2),
    Fault("decoder crashed (SIGSEGV)", crashed, 2, brief_s=0.5),
    Fault("decoder hangs (SIGSTOP)", hung, 8),
    Fault("decoder and the process that starts decoders killed", orphaned, 2),
)
