"""Converted networks: the newest few are kept, and nobody loses what he reads or writes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from syncvis_online.openvino.keeping import KEPT, discard_draft, draft_of, prune, reading, writing

HOLDS = """
import sys
from pathlib import Path
from syncvis_online.openvino import keeping
with getattr(keeping, sys.argv[1])(Path(sys.argv[2])) as draft:
    if draft is not None:
        draft.mkdir()
    print("held", flush=True)
    sys.stdin.readline()
"""


def named(number: int) -> str:
    """As the networks of a checkpoint are called."""
    return f"{number:016x}-2026.4.1-2.13.0-192x320-2"


def made(parent: Path, name: str, used_at_s: float) -> Path:
    """A folder as a conversion leaves it, with its lock."""
    folder = parent / name
    with writing(folder) as draft:
        draft.mkdir()
        (draft / "encoder.xml").write_text(name)
        draft.rename(folder)
    os.utime(folder, (used_at_s, used_at_s))
    return folder


def held(how: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that reads or writes a folder until a line comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, how, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_those_that_were_used_last_stay_whenever_they_were_made(tmp_path: Path) -> None:
    days = list(range(KEPT + 5))
    random.Random(0).shuffle(days)
    for day in days:
        made(tmp_path, named(day), 86_400.0 * (1 + day))
    with reading(tmp_path / named(0)):
        pass
    prune(tmp_path)
    newest = {named(day) for day in (0, *range(6, KEPT + 5))}
    assert {each.name for each in tmp_path.iterdir()} == newest | {f"{name}.lock" for name in newest}
    assert len(newest) == KEPT
    assert all((tmp_path / name / "encoder.xml").read_text() == name for name in newest)


def test_what_another_process_reads_or_writes_stays_until_it_has_ended(tmp_path: Path) -> None:
    read, old = made(tmp_path, named(1), 1.0), made(tmp_path, named(2), 2.0)
    written = tmp_path / named(3)
    with ExitStack() as ended:
        others = [ended.enter_context(held("reading", read)), ended.enter_context(held("writing", written))]
        os.utime(read, (1.0, 1.0))
        prune(tmp_path, kept=0)
        assert read.is_dir()
        assert draft_of(written).is_dir()
        assert not old.exists()
        discard_draft(written)
        assert draft_of(written).is_dir()
        for other in others:
            other.kill()
    assert draft_of(written).is_dir(), "as one leaves it that was killed"
    prune(tmp_path, kept=0)
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_somebody_left_beside_what_is_kept_goes(tmp_path: Path) -> None:
    folder = made(tmp_path, named(1), 1.0)
    draft_of(folder).mkdir()
    prune(tmp_path)
    assert folder.is_dir()
    assert not draft_of(folder).exists()


def test_what_is_not_a_converted_network_stays(tmp_path: Path) -> None:
    """A folder that was given on the command line, or by the environment, may hold anything."""
    made(tmp_path, named(1), 1.0)
    others = {"project", "file.lock", "letter.draft", f"{named(1)}.zip"}
    for name in others:
        (tmp_path / name).mkdir()
    prune(tmp_path, kept=0)
    assert {each.name for each in tmp_path.iterdir()} == others


def test_a_lock_that_was_removed_while_one_waited_for_it_keeps_nobody_out(tmp_path: Path) -> None:
    """Else two might write one folder: the one that had the old file's lock, and the one that made a new file."""
    folder = tmp_path / "a"
    with held("writing", folder) as other, held_later(folder) as waits:
        (tmp_path / "a.lock").unlink()
        other.communicate("\n")
        assert waits.stdout is not None
        assert waits.stdout.readline() == "held\n"
        lock = (tmp_path / "a.lock").stat()
        opened = [Path(f"/proc/{waits.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{waits.pid}/fd")]
        assert any(os.path.samestat(path.stat(), lock) for path in opened if path.exists())
        waits.communicate("\n")


def open_files(process: int) -> set[str]:
    """What a process has open, but for what it closes meanwhile."""
    names = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.add(os.readlink(descriptor))
    return names


def held_later(folder: Path) -> subprocess.Popen[str]:
    """A process that waits for the lock of a folder: it has its file open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, "writing", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while f"{folder}.lock" not in open_files(process.pid):
        assert process.poll() is None
    return process


def test_where_one_may_not_write_it_is_read_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "another's"
    folder.mkdir()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("syncvis_online.openvino.keeping.os.open", refuse)
    with reading(folder):
        assert [each.name for each in tmp_path.iterdir()] == ["another's"]
