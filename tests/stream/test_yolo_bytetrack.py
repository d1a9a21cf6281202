"""Where YOLO cannot be had the benchmark says why in a line, and leaves its rows empty and marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.yolo_bytetrack import OURS, THEIRS, table
from benchmarks.yolo_environment import Unavailable, python_with_yolo, quiet_settings, torchvision_for


def test_torchvision_is_the_one_of_this_torch() -> None:
    assert torchvision_for("2.13.0+cpu") == "torchvision==0.28.*"
    assert torchvision_for("2.5.1") == "torchvision==0.20.*"
    with pytest.raises(Unavailable, match=r"goes with torch 3\.0"):
        torchvision_for("3.0.0")


def test_without_a_package_index_one_line_says_so_and_nothing_passes_for_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for _ in range(2):  # what is left of the first try is no environment
        with pytest.raises(Unavailable, match=r"^[^\n]*ultralytics[^\n]*$"):
            python_with_yolo(tmp_path / "yolo")


def test_ultralytics_stays_on_this_machine(tmp_path: Path) -> None:
    settings = quiet_settings(tmp_path)
    assert settings["YOLO_OFFLINE"] == "true"
    assert settings["YOLO_AUTOINSTALL"] == "false"
    assert Path(settings["YOLO_CONFIG_DIR"]).is_relative_to(tmp_path)


def test_the_table_marks_what_was_not_measured() -> None:
    of = {"frames_per_s": 20.0, "cpu_ms": 40.0, "tracked": 7.0}
    ratio = {"median": 1.25, "least": 1.0, "most": 1.5}
    where = {"threads": 1, "camera_fps": 25}
    rows = [
        {
            **where,
            "engine": "torch",
            "gflop": {OURS: 2.0, THEIRS: 1.0},
            "rows": {OURS: of, THEIRS: of},
            "ratios": {"frames": ratio},
        },
        {**where, "engine": "openvino", "skipped": "openvino is not installed"},
    ]
    _, _, ours, theirs, ratios, skipped = table(rows).splitlines()
    assert ours.split()[-3:] == ["7.0", "2.0", "50.0"]
    assert theirs.split()[-3:] == ["7.0", "1.0", "25.0"]
    assert "1.25 (1.00 to 1.50)" in ratios
    assert "not measured: openvino is not installed" in skipped
