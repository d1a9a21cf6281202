"""Which track ids a camera has given: never one twice, also after a crash and a new start.

On disk stands only a bound: no id at or above it was ever given. It is raised by a block, before the first id of the
block is published; so a process that is killed leaves a gap in the numbers and never a number twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from stream.errors import ConfigError
from syncvis_online.files import replacing

_log = logging.getLogger(__name__)

BLOCK = 1000
FORMAT = "syncvis-online-ids/1"


class IdLedger:
    """The ids of all cameras, in memory, and in a folder where there is one. Safe from several threads."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._next: dict[str, int] = {}
        self._bound: dict[str, int] = {}
        self._locks: dict[str, IO[str]] = {}
        self._busy = threading.RLock()
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
        except OSError as error:
            raise ConfigError(f"state_dir {folder}: {error.strerror or error}") from error
        try:
            for camera in cameras:
                ledger.admit(camera)
        except ConfigError:
            ledger.close()
            raise
        return ledger

    def admit(self, camera: str) -> None:
        """This camera may be given ids from now on. Idempotent. Raises ConfigError as `open` does."""
        with self._busy:
            if self._folder is None or camera in self._bound:
                return
            try:
                self._lock(camera)
                self._next[camera] = self._bound[camera] = _read(self._path(camera))
                self._raise(camera, self._next[camera])
            except (OSError, ConfigError) as error:
                self._unlock(camera)
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"state_dir {self._folder}: {error.strerror or error}") from error

    def release(self, camera: str) -> None:
        """It is given none any more; should it come back, it goes on where it was. Idempotent."""
        with self._busy:
            if camera in self._bound and self._written(camera):
                del self._next[camera]
                self._unlock(camera)

    def first(self, camera: str) -> int:
        """The next id of a camera: larger than all that it was ever given."""
        return self._next.get(camera, 1)

    def given(self, camera: str, next_id: int) -> None:
        """Ids below `next_id` are about to be published. A disk that fails is logged, and the camera goes on."""
        with self._busy:
            self._given(camera, next_id)

    def _given(self, camera: str, next_id: int) -> None:
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
        with self._busy:
            for camera in tuple(self._locks):
                if camera in self._bound:
                    self._written(camera)
                self._unlock(camera)

    def _path(self, camera: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{camera}.ids.json"

    def _lock(self, camera: str) -> None:
        """Held as long as the process lives, however it ends."""
        lock = self._locks[camera] = self._path(camera).with_suffix(".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"state_dir {self._folder}: camera {camera} is served with it by another process"
            ) from None

    def _unlock(self, camera: str) -> None:
        self._bound.pop(camera, None)
        lock = self._locks.pop(camera, None)
        if lock is not None:
            lock.close()

    def _written(self, camera: str) -> bool:
        """Write down where a camera is; whether that worked."""
        try:
            self._write(camera, self._next[camera])
        except OSError as error:
            _log.error("state_dir %s: %s", self._folder, error.strerror)
            return False
        return True

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
