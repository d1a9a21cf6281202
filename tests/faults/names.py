"""Names of hosts that come and go: a hosts file that is seen by this process and those below it only.

Owns the mount namespace in which it lies over /etc/hosts; nobody else's names change. Needs `unshare` (util-linux) and
the right to use it, as root or by user namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HOST = "camera.test"
_HOSTS, _SOURCES = "SYNCVIS_FAULTS_HOSTS", "SYNCVIS_FAULTS_SOURCES"
_MOUNT = (
    f'mount --bind "${_HOSTS}" /etc/hosts && mount --bind "${_SOURCES}" /etc/nsswitch.conf && exec "$0" "$@"'
)


def may_change() -> bool:
    """Whether names can be changed: this process is in a namespace of its own."""
    return _HOSTS in os.environ


def set_known(known: bool) -> None:
    """The host has an address from now on, or none."""
    lines = ["127.0.0.1 localhost", *([f"127.0.0.1 {HOST}"] if known else [])]
    # In place: another file under its name would not be the one that is mounted.
    Path(os.environ[_HOSTS]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_again_in_namespace(folder: Path, command: Sequence[str]) -> int | None:
    """Run a command where the host's name can be changed; its exit code, or None where there cannot be such a place."""
    for rights in ((), ("--map-root-user",)):
        unshare = ("unshare", *rights, "--mount")
        try:
            usable = subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
        except FileNotFoundError:
            usable = False
        if usable:
            files = {_HOSTS: folder / "hosts", _SOURCES: folder / "nsswitch.conf"}
            files[_HOSTS].write_text("", encoding="utf-8")
            files[_SOURCES].write_text("hosts: files\n", encoding="utf-8")
            environment = os.environ | {name: str(path) for name, path in files.items()}
            return subprocess.run(
                [*unshare, "sh", "-c", _MOUNT, sys.executable, *command], env=environment
            ).returncode
    return None
