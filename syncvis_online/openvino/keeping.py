"""The folders of converted networks: who writes, reads or removes one has its lock, and only the newest few stay.

Owns the lock beside each folder, `NAME.lock`, and the draft that becomes it, `NAME.draft`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT = 16
"""Folders, each of one network for one size of pictures, of which a model has 14; of the one that ships 20 MB each."""

_NAME = re.compile(r"([0-9a-f]{16}-.+-\d+x\d+-\d+)(\.lock|\.draft)?")
"""Of checkpoint and code, versions, size and frames; what is called otherwise is somebody else's, and stays."""


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Hold a folder's lock; waits for others. Gives the draft, which is not there, and is removed at the end: rename it
    to the folder when it is whole.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = _lock(folder, fcntl.LOCK_EX), draft_of(folder)
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Hold a folder's lock together with others who read it, and say that it was used now. Without a lock where one may
    not write: nobody removes anything there.
    """
    try:
        descriptor = _lock(folder, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield
        return
    try:
        with suppress(OSError):  # another user's, or just gone
            os.utime(folder)
        yield
    finally:
        os.close(descriptor)


def draft_of(folder: Path) -> Path:
    """Where a folder is made; whoever writes there has the folder's lock."""
    return Path(f"{folder}.draft")


def discard_draft(folder: Path) -> None:
    """Remove what a process that was killed has left of a folder, unless another is at it by now."""
    with suppress(OSError):
        descriptor = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft_of(folder), ignore_errors=True)
        os.close(descriptor)


def prune(parent: Path, kept: int = KEPT) -> None:
    """Remove all converted networks but the `kept` that were used last, drafts that nobody writes, and locks of
    neither. What another process has the lock of stays, what is another user's, and whatever else is there.
    """
    names = {found[1] for path in parent.iterdir() if (found := _NAME.fullmatch(path.name))}
    last_used_s = {name: _last_used_s(parent / name) for name in names}
    newest_first = sorted(names, key=last_used_s.__getitem__, reverse=True)
    for place, name in enumerate(newest_first):
        if place >= kept or not last_used_s[name]:
            with suppress(OSError):
                _remove(parent / name, last_used_s[name])
        else:
            discard_draft(parent / name)


def _remove(folder: Path, last_used_s: float) -> None:
    """Remove a folder, its draft and its lock, unless it was used since it was looked at. Raises BlockingIOError where
    another has the lock.
    """
    descriptor = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        if _last_used_s(folder) == last_used_s:
            draft = draft_of(folder)
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(FileNotFoundError):
                folder.rename(draft)  # it is there as a whole or not at all
            shutil.rmtree(draft, ignore_errors=True)
            _lock_of(folder).unlink()
    finally:
        os.close(descriptor)


def _last_used_s(folder: Path) -> float:
    """When, in seconds since 1970; 0 where there is no such folder."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lock_of(folder: Path) -> Path:
    return Path(f"{folder}.lock")


def _lock(folder: Path, operation: int) -> int:
    """A descriptor that has the lock until it is closed. Raises BlockingIOError where it is not to wait."""
    while True:
        descriptor = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, operation)
            if _is_named(descriptor, _lock_of(folder)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another removed it meanwhile: that lock keeps nobody out any more


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether a file that is open is the one of that name still."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
