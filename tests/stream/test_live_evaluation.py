"""What was known when: late answers and frames that were left out cost accuracy, and nothing else does."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.cli import EXIT_USAGE, main
from stream.live_evaluation import LiveTracker, known_at
from stream.types import EngineAnswer, Window
from syncvis_online.types import Track
from tests.stream.frames import PICTURE, SquareEngine

no_deadline = hypothesis_settings(deadline=None)
moments = st.lists(st.integers(0, 40), max_size=30).map(sorted)


def track(number: int) -> tuple[Track, ...]:
    return (Track(number, "dog", 0.5, {"size": [1, 1], "counts": "1"}, (0.0, 0.0, 1.0, 1.0)),)


@no_deadline
@given(moments, moments)
def test_the_newest_answer_by_each_moment_counts(wanted: list[int], published: list[int]) -> None:
    answers = [(float(at), track(i)) for i, at in enumerate(published)]
    for moment, known in zip(wanted, known_at([float(at) for at in wanted], answers), strict=True):
        newest = bisect_right(published, moment) - 1
        assert known == (track(newest) if newest >= 0 else ())


class NumberingEngine(SquareEngine):
    """Gives each frame's number as a track id, and takes so long for each window."""

    def __init__(self, takes_s: float = 0.0) -> None:
        super().__init__(2, 1)
        self.takes_s = takes_s

    def process(self, window: Window) -> EngineAnswer:
        threading.Event().wait(self.takes_s)
        answer = super().process(window)
        frames = tuple(replace(frame, tracks=track(frame.seq + 1)) for frame in answer.frames)
        return replace(answer, frames=frames)


def ages(tracker: LiveTracker, frames: int, fps: float) -> list[int]:
    """By how many frames what was known at each frame's moment is older; its own number where nothing was known."""
    answers = list(tracker.track_video([PICTURE] * frames, fps))
    assert [answer.frame_index for answer in answers] == list(range(frames))
    return [
        answer.frame_index - (answer.tracks[0].track_id - 1 if answer.tracks else -1) for answer in answers
    ]


def test_a_model_that_takes_no_time_is_one_frame_late_and_a_slow_one_as_much_as_it_takes() -> None:
    fast, slow = LiveTracker(NumberingEngine()), LiveTracker(NumberingEngine(0.3))
    began = time.monotonic()
    of_fast, of_slow = ages(fast, 20, 10.0), ages(slow, 20, 10.0)
    assert time.monotonic() - began >= 2 * 19 / 10, "they are played at their own pace"
    assert min(of_fast) == 1
    assert sorted(of_fast)[10] == 1
    assert min(of_slow[5:]) >= 4
    assert fast.figures()["frames_answered"] == fast.figures()["frames_offered"] == 20
    assert slow.figures()["frames_answered"] < 15
    assert slow.figures()["latency_ms"]["p50"] >= 300


def test_at_a_lower_rate_what_is_known_is_older() -> None:
    tracker = LiveTracker(NumberingEngine(), rate=5.0)
    assert max(ages(tracker, 20, 20.0)[8:]) >= 4
    assert 4 <= tracker.figures()["frames_answered"] <= 6


def test_the_command_plays_videos_and_says_how_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "live.json"
    data = "synthetic:easy?seeds=9000&frames=12"
    assert main(["eval", "--data", data, "--mode", "live", "--threads", "1", "--json", str(file)]) == 0
    said = json.loads(file.read_text())
    assert json.loads(capsys.readouterr().out) == said
    assert said["mode"] == "live"
    assert said["live"]["frames_offered"] == said["frames"] == 12
    assert 1 <= said["live"]["frames_answered"] <= 12
    assert said["live"]["latency_ms"]["p50"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", "5"), "--rate: only with --mode live"),
        (("--mode", "live", "--association", "bytetrack"), "so not with --mode live"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--data", "synthetic:easy?seeds=9000&frames=4", *options]) == EXIT_USAGE
    assert message in capsys.readouterr().err
