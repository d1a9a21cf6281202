"""What happens to cameras as machines: they lose power, hang, come back as something else."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from dataclasses import replace

from tests.faults.stage import Clip, Victim
from tests.faults.trial import USUAL, Fault

PASSWORDS = ("first-5d1c", "second-8e2f")


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


async def back_as_h265(victim: Victim) -> AsyncGenerator[None]:
    """Somebody set another codec: it comes back with it."""
    await _back_as(victim, "h265")
    yield


async def back_as_mjpeg(victim: Victim) -> AsyncGenerator[None]:
    """The same, with one that has no key frames."""
    await _back_as(victim, "mjpeg")
    yield


async def _back_as(victim: Victim, codec: str) -> None:
    await victim.remount(replace(victim.clip, codec=codec))
    await victim.kill_server()
    await victim.start_server()


async def other_password(victim: Victim) -> AsyncGenerator[None]:
    """The camera's password is changed, then told by REST."""
    await victim.remount(password=PASSWORDS[1])
    await victim.kill_server()
    await victim.start_server()
    yield
    answer = await victim.service.change(victim.name, victim.url(), **victim.settings)
    assert answer.status_code == 200, answer.text


async def password_and_back(victim: Victim) -> AsyncGenerator[None]:
    """The camera's password is changed, and changed back there: nobody tells the service."""
    await victim.remount(password=PASSWORDS[1])
    await victim.kill_server()
    await victim.start_server()
    yield
    await victim.remount(password=PASSWORDS[0])
    await victim.kill_server()
    await victim.start_server()


PROTECTED = {"mount": {"user": "admin", "password": PASSWORDS[0]}}

FAULTS = (
    Fault("server killed, back after 5 s", killed, 5, brief_s=0.5),
    Fault("server killed, back after 70 s: the longest delay between attempts is reached", killed, 70),
    Fault("server stopped (SIGSTOP) for 12 s", stopped, 12),
    Fault("server stopped for 3 s, less than the read timeout", stopped, 3),
    Fault("back as H.265", back_as_h265, 5, later=(replace(USUAL, codec="h265"),)),
    Fault("back as MJPEG", back_as_mjpeg, 5, later=(replace(USUAL, codec="mjpeg"),)),
    Fault("password changed; the new one is told by REST", other_password, 6, brief_s=1.5, setting=PROTECTED),
    Fault("password changed and changed back at the camera", password_and_back, 6, setting=PROTECTED),
    Fault(
        "30 cameras of one recorder away for 5 s", killed, 5,
        clip=Clip(width=160, height=96, fps=2, seconds=48, gop=2), setting={"cameras": 30},
    ),
)  # fmt: skip
