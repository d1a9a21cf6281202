"""Another machine on this one: a network namespace of Linux, joined by a bridge whose cable can be pulled.

Owns the namespace, at the end also what still runs in it, and the bridge. Needs root and `ip` (iproute2); `available()`
says whether they are there. What runs inside goes on while it is cut off, and notices nothing but that nobody answers.

    with CutOffHost() as host:
        subprocess.Popen(host.command("python", "-m", "..."))  # at host.address; it reaches host.other
        host.cut()
        host.heal()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

NETWORK = "10.83.0"


def available() -> bool:
    """Whether this process may make network namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


class CutOffHost:
    """`other`: this machine's address on the bridge; `address`: that of the one behind it."""

    other, address = f"{NETWORK}.1", f"{NETWORK}.2"

    def __init__(self) -> None:
        self._name = f"syncvis-{os.getpid()}"
        self._bridge, self._cable = f"svb{os.getpid()}", f"svc{os.getpid()}"

    def __enter__(self) -> Self:
        name, bridge, cable = self._name, self._bridge, self._cable
        _ip("netns", "add", name)
        try:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{self.other}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "default", "via", self.other)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def command(self, *command: str) -> list[str]:
        """The command line that runs this one there."""
        return ["ip", "netns", "exec", self._name, *command]

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        _ip("link", "set", self._cable, "nomaster")

    def heal(self) -> None:
        """The cable is back."""
        _ip("link", "set", self._cable, "master", self._bridge)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside = subprocess.run(
            ["ip", "netns", "pids", self._name], capture_output=True, text=True, check=False
        )
        for pid in map(int, inside.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for command in (
            ("link", "del", self._cable),
            ("netns", "del", self._name),
            ("link", "del", self._bridge),
        ):
            subprocess.run(["ip", *command], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
