"""No id is ever given twice: not after a crash, not after a proper end, not by two processes at once."""

from __future__ import annotations

import json
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.engine import TrackerEngine
from stream.errors import ConfigError
from stream.identities import BLOCK, IdLedger, default_state_dir
from stream.types import Frame
from stream.window import RollingWindows
from syncvis_online.config import TrackerConfig
from syncvis_online.online import OnlineTracker
from tests.syncvis_online.models import pictures, tiny_checkpoint


def crashed(ledger: IdLedger) -> None:
    """What is left of a ledger whose process was killed: its files as they are, its locks gone."""
    for lock in ledger._locks.values():
        lock.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(1, 2 * BLOCK), max_size=4)), min_size=1, max_size=5
    )
)
def test_every_life_begins_above_all_that_was_given_before(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[bool, list[int]]]
) -> None:
    folder, highest = tmp_path_factory.mktemp("state"), 0
    for crashes, steps in lives:
        ledger = IdLedger.open(folder, ["a"])
        next_id = ledger.first("a")
        assert next_id > highest
        for step in steps:
            next_id += step
            ledger.given("a", next_id)
            highest = next_id - 1
        if crashes:
            crashed(ledger)
        else:
            ledger.close()
            assert json.loads((folder / "a.ids.json").read_text())["next_id"] == next_id, "a gap"


def test_cameras_count_apart_and_one_that_comes_back_goes_on(tmp_path: Path) -> None:
    with closing(IdLedger.open(tmp_path / "new" / "folder", ["a", "b"])) as ledger:
        ledger.given("a", 7)
        assert (ledger.first("a"), ledger.first("b")) == (7, 1)
    without_folder = IdLedger()
    without_folder.given("a", 7)
    assert (without_folder.first("a"), without_folder.first("b")) == (7, 1)


def test_two_processes_do_not_share_a_camera(tmp_path: Path) -> None:
    first = IdLedger.open(tmp_path, ["a", "b"])
    with pytest.raises(ConfigError, match="camera b is served with it by another process"):
        IdLedger.open(tmp_path, ["c", "b"])
    IdLedger.open(tmp_path, ["c"]).close()
    first.close()
    IdLedger.open(tmp_path, ["c", "b"]).close()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"next_id": 5}', '{"format": "syncvis-online-ids/1", "next_id": 0}']
)
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.ids.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"a\.ids\.json: damaged"):
        IdLedger.open(tmp_path, ["a"])
    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state_dir .*file/state: Not a directory"):
        IdLedger.open(tmp_path / "file" / "state", ["a"])


def test_a_disk_that_fails_later_is_logged_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    ledger = IdLedger.open(folder, ["a"])
    folder.rename(tmp_path / "gone")
    for next_id in (2, BLOCK, 2 * BLOCK, 3 * BLOCK):
        ledger.given("a", next_id)
    assert ledger.first("a") == 3 * BLOCK
    assert len([r for r in caplog.records if "may be given again" in r.message]) == 1
    ledger.close()


def test_where_state_is_kept_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_state_dir() == tmp_path / "syncvis-online"
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path / 'systemd'}:/other")
    assert default_state_dir() == tmp_path / "systemd"


def test_a_camera_that_is_forgotten_and_comes_back_gets_new_ids() -> None:
    config = TrackerConfig(window_frames=1, birth_score=0.05, keep_score=0.04, duplicate_iou=0.9, min_area=1)
    engine = TrackerEngine(OnlineTracker(tiny_checkpoint(config)))
    lives = []
    for _ in range(2):
        windows, ids = RollingWindows(1, 1, max_gap_s=1.0), set()
        for i, image in enumerate(pictures(3)):
            window = windows.push(Frame("a", i, i, Fraction(1, 10), i / 10, image))
            assert window is not None
            ids |= {t.track_id for f in engine.process(window).frames for t in f.tracks}
        lives.append(ids)
        engine.forget("a")
    assert lives[0]
    assert min(lives[1]) > max(lives[0])
