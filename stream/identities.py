"""Which track ids a camera has given: never one twice, also after a crash and a new start.

On disk stands only a bound: no id at or above it was ever given. It is raised by a block, before the first id of the
block is published; so a process that is killed leaves a gap in the numbers and never a number twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from stream.errors import ConfigError
from syncvis_online.files import replacing

_log = logging.getLogger(__name__)

BLOCK = 1000
FORMAT = "syncvis-online-ids/1"


class IdLedger:
    """The ids of all cameras, in memory, and in a folder where there is one. For one thread."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._next: dict[str, int] = {}
        self._bound: dict[str, int] = {}
        self._locks: list[IO[str]] = []
        self._failed = False

    @classmethod
    def open(cls, folder: Path, cameras: Iterable[str]) -> Self:
        """The ledger of `cameras` in a folder, which is made; other processes cannot open theirs meanwhile.

        Raises ConfigError when the folder cannot be written to, a file in it is damaged, or a camera of that name is
        already served with this folder.
        """
        ledger = cls()
        ledger._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for camera in cameras:
                ledger._lock(camera)
                ledger._next[camera] = ledger._bound[camera] = _read(ledger._path(camera))
                ledger._raise(camera, ledger._next[camera])
        except OSError as error:
            ledger.close()
            raise ConfigError(f"state_dir {folder}: {error.strerror or error}") from error
        except ConfigError:
            ledger.close()
            raise
        return ledger

    def first(self, camera: str) -> int:
        """The next id of a camera: larger than all that it was ever given."""
        return self._next.get(camera, 1)

    def given(self, camera: str, next_id: int) -> None:
        """Ids below `next_id` are about to be published. A disk that fails is logged, and the camera goes on."""
        self._next[camera] = next_id
        if self._folder is None or camera not in self._bound:
            return
        # Half a block ahead: a disk that is full for a while is no harm.
        if next_id + BLOCK // 2 <= self._bound[camera]:
            return
        try:
            self._raise(camera, next_id)
        except OSError as error:
            if not self._failed:
                _log.error(
                    "state_dir %s: %s; ids may be given again after a restart", self._folder, error.strerror
                )
            self._failed = True

    def close(self) -> None:
        """Write down where each camera is, so that a proper end leaves no gap, and let others open. Idempotent."""
        for camera in self._bound:
            try:
                self._write(camera, self._next[camera])
            except OSError as error:
                _log.error("state_dir %s: %s", self._folder, error.strerror)
        self._bound.clear()
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _path(self, camera: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{camera}.ids.json"

    def _lock(self, camera: str) -> None:
        """Held as long as the process lives, however it ends."""
        lock = self._path(camera).with_suffix(".lock").open("w")
        self._locks.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"state_dir {self._folder}: camera {camera} is served with it by another process"
            ) from None

    def _raise(self, camera: str, next_id: int) -> None:
        self._write(camera, next_id + BLOCK)
        self._bound[camera] = next_id + BLOCK

    def _write(self, camera: str, bound: int) -> None:
        with replacing(self._path(camera), durable=True) as draft:
            draft.write_text(json.dumps({"format": FORMAT, "next_id": bound}) + "\n", encoding="utf-8")


def _read(path: Path) -> int:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] == FORMAT and type(content["next_id"]) is int and content["next_id"] >= 1:
            return int(content["next_id"])
    except FileNotFoundError:
        return 1
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigError(f"{path}: damaged: which ids were given is not known (remove it to begin with 1 again)")


def default_state_dir() -> Path:
    """Where a service keeps its state unless told otherwise: systemd's StateDirectory, or the user's own place (XDG
    Base Directory Specification).
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "syncvis-online"
