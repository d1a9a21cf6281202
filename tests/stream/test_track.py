"""`track` counts what it saw, and ends when its time is up or its engine gives nothing."""

from __future__ import annotations

import json

import pytest

from stream import tracker_api
from stream.cli import EXIT_FAILED, main
from stream.tracker_api import CAMERA, open_tracker
from tests.stream.frames import ListSource, SquareEngine, make_frame


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SquareEngine:
    """The engine that any model's name gives."""
    engine = SquareEngine(3, 2)
    monkeypatch.setattr(tracker_api, "load_engine", lambda *_, **__: engine)
    return engine


@pytest.mark.usefixtures("engine")
def test_the_summary_counts_frames_and_distinct_tracks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "synthetic:3?frames=7&size=160x96"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["source"] == "synthetic:3?frames=7&size=160x96"
    assert (summary["received"], summary["processed"], summary["dropped"]) == (7, 7, {})
    assert summary["tracks"] == 1
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99"}


def test_an_engine_that_fails_on_every_frame_is_an_error(
    engine: SquareEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fail_cameras = {CAMERA}
    assert main(["track", "synthetic:3?frames=7&size=160x96"]) == EXIT_FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert "the model failed on every frame: ValueError: no such tensor" in err.splitlines()[-1]


async def test_a_duration_ends_also_when_the_camera_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_api, "_LATE_S", 0.0)
    tracker = open_tracker("rtsp://127.0.0.1:9/", SquareEngine(), duration_s=0.01)
    monkeypatch.setattr(tracker, "_source", ListSource([make_frame(0)], paced=True, endless=True))
    assert [frame.seq async for frame in tracker] == [0]
