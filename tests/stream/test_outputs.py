"""What `track` writes is whole or not there, and says what was tracked."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from stream.commands.outputs import OverlayVideo, TracksFile, close_outputs, open_outputs
from stream.errors import ConfigError, SyncVISError
from stream.types import TrackedFrame
from stream.wire import WireFrame, decode
from tests.stream.frames import make_tracked


def picture_of(seq: int, height: int = 96, width: int = 160) -> TrackedFrame:
    """A frame whose grey level says its number, without tracks."""
    image = np.full((height, width, 3), 16 * (seq + 1), np.uint8)
    return replace(make_tracked(seq, tracks=0), image=image)


def test_tracks_are_lines_that_can_be_read_back(tmp_path: Path) -> None:
    frames = [make_tracked(seq, tracks=seq % 3) for seq in range(5)]
    output = TracksFile(tmp_path / "tracks.jsonl")
    for frame in frames:
        output.write(frame)
    output.close(keep=True)
    output.close(keep=True)
    lines = (tmp_path / "tracks.jsonl").read_text().splitlines()
    assert [decode(line) for line in lines] == [WireFrame.of(frame) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_shows_each_frame_at_its_captured_time(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"overlay{suffix}"
    output = OverlayVideo(target)
    times_s = [0.0, 0.04, 0.5, 0.54, 2.0]
    for seq, time_s in enumerate(times_s):
        output.write(replace(picture_of(seq), captured_at_s=1000 + time_s))
    output.close(keep=True)
    with av.open(str(target)) as container:
        shown = list(container.decode(video=0))
    assert [float(frame.pts * frame.time_base) for frame in shown] == pytest.approx(times_s, abs=0.002)
    levels = [frame.to_ndarray(format="rgb24").mean() for frame in shown]
    assert levels == pytest.approx([16 * (seq + 1) for seq in range(5)], abs=8)


def test_a_video_lives_with_odd_sizes_size_changes_and_time_that_goes_back(tmp_path: Path) -> None:
    target = tmp_path / "overlay.mp4"
    output = OverlayVideo(target)
    output.write(replace(picture_of(0, 97, 161), captured_at_s=1000.0))
    output.write(replace(picture_of(1, 240, 320), captured_at_s=1000.1))
    output.write(replace(picture_of(2, 97, 161), captured_at_s=999.0))
    output.close(keep=True)
    with av.open(str(target)) as container:
        shown = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in shown] == [(160, 96)] * 3


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_is_left_of_what_is_not_kept(tmp_path: Path, keep: bool) -> None:
    outputs = open_outputs(tmp_path / "tracks.jsonl", tmp_path / "overlay.mp4")
    assert not (tmp_path / "tracks.jsonl").exists()
    for output in outputs:
        output.write(picture_of(0))
        output.close(keep=keep)
    left = {"tracks.jsonl", "overlay.mp4"} if keep else set()
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_video_without_a_frame_is_no_file(tmp_path: Path) -> None:
    OverlayVideo(tmp_path / "overlay.mp4").close(keep=True)
    assert list(tmp_path.iterdir()) == []


def test_a_second_output_that_cannot_be_written_takes_the_first_along(tmp_path: Path) -> None:
    for video in ("nowhere/overlay.mp4", "overlay.txt"):
        with pytest.raises(ConfigError, match="cannot write"):
            open_outputs(tmp_path / "tracks.jsonl", tmp_path / video)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_the_other_file_is_kept(tmp_path: Path) -> None:
    outputs = open_outputs(Path("/dev/full"), tmp_path / "overlay.mp4")
    for output in outputs:
        output.write(picture_of(0))
    with pytest.raises(SyncVISError, match="cannot write /dev/full: No space left on device"):
        close_outputs(outputs, keep=True)
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.mp4"]
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "tracks.jsonl"
    link.symlink_to(tmp_path / "there" / "target.jsonl")
    output = TracksFile(link)
    output.write(picture_of(0))
    output.close(keep=True)
    assert link.is_symlink()
    assert decode((tmp_path / "there" / "target.jsonl").read_text()).seq == 0
