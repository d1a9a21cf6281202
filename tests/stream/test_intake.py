"""How many frames are taken of a camera, and which part of its picture."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.config import PipelineConfig, ServeConfig
from stream.intake import Intake
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.scheduler import Scheduler
from stream.statistics import CameraStatistics
from stream.types import Frame
from tests.stream.frames import ListSource, SquareEngine, make_frame

MILLISECOND = Fraction(1, 1000)


def frame_at(ms: int, **changes: object) -> Frame:
    return make_frame(0, pts=ms, time_base=MILLISECOND, **changes)


def taken_of(intake: Intake, times_ms: list[int]) -> list[int]:
    return [ms for ms in times_ms if intake.of(frame_at(ms)) is not None]


@given(
    camera_fps=st.floats(2, 60),
    fps=st.floats(0.5, 60),
    jitter=st.lists(st.floats(-0.1, 0.1), min_size=200, max_size=200),
)
def test_as_many_are_taken_as_asked_for_or_as_there_are(
    camera_fps: float, fps: float, jitter: list[float]
) -> None:
    times = [round(1000 * (i + j) / camera_fps) + 1000 for i, j in enumerate(jitter)]
    taken = taken_of(Intake(fps), times)
    seconds = 200 / camera_fps
    assert len(taken) <= fps * seconds + 2
    if camera_fps <= fps * 0.99:
        assert len(taken) == 200, "a camera that is slower loses nothing"
    else:
        assert len(taken) >= 0.9 * min(fps, camera_fps) * seconds - 2


def test_they_are_spread_evenly() -> None:
    taken = taken_of(Intake(10), list(range(0, 4000, 40)))
    steps = set(np.diff(taken).tolist())
    assert steps <= {80, 120}
    assert len(taken) == 40


def test_frames_that_come_at_once_are_judged_by_the_media_s_time() -> None:
    intake = Intake(10)
    frames = [frame_at(100 * i, at_s=1000.0) for i in range(5)]
    assert [intake.of(frame) for frame in frames] == frames


def test_the_first_frame_after_a_reconnect_is_taken_whatever_its_time() -> None:
    intake = Intake(1)
    assert intake.of(frame_at(5000)) is not None
    assert intake.of(frame_at(5100)) is None
    assert intake.of(frame_at(5200, discontinuity=True)) is not None
    assert intake.of(frame_at(20)) is not None, "the clock went back"
    assert intake.of(frame_at(900)) is not None
    assert intake.of(frame_at(60_000)) is not None
    assert intake.of(frame_at(60_300)) is None, "what a pause let pass is not made up for"


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    x=st.tuples(st.floats(0, 0.95), st.floats(0.05, 1)),
    y=st.tuples(st.floats(0, 0.95), st.floats(0.05, 1)),
)
def test_the_part_that_is_kept_is_the_part_that_was_named(
    size: tuple[int, int], x: tuple[float, float], y: tuple[float, float]
) -> None:
    height, width = size
    crop = (x[0], y[0], min(1.0, x[0] + x[1]), min(1.0, y[0] + y[1]))
    image = np.arange(height * width * 3, dtype=np.uint64).reshape(height, width, 3).astype(np.uint8)
    rows, columns = np.mgrid[0:height, 0:width]
    image[..., 0], image[..., 1] = columns, rows
    cut = Intake(crop=crop).of(make_frame(0, image=image))
    assert cut is not None
    found = cut.image
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, image)
    assert abs(int(found[0, 0, 0]) - crop[0] * width) <= 1
    assert abs(int(found[0, 0, 1]) - crop[1] * height) <= 1
    assert abs(found.shape[1] - (crop[2] - crop[0]) * width) <= 1
    assert abs(found.shape[0] - (crop[3] - crop[1]) * height) <= 1


@pytest.mark.parametrize(
    ("key", "value"), [("fps", 0), ("crop", [0.5, 0, 0.5, 1]), ("crop", [0, 0, 2, 1]), ("crop", [0, 0, 1])]
)
def test_what_makes_no_sense_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        ServeConfig.model_validate({"cameras": {"yard": {"url": "synthetic:1", key: value}}})


async def test_frames_beyond_the_rate_cost_the_model_nothing_and_are_counted() -> None:
    engine = SquareEngine(3, 1)
    scheduler = Scheduler(engine)
    scheduler.start()
    statistics = CameraStatistics("cam", "test", Metrics(CollectorRegistry()))
    source = ListSource(make_frame(seq) for seq in range(100))
    pipeline = CameraPipeline(
        source, scheduler, statistics, PipelineConfig(), intake=Intake(0.5, (0.5, 0.25, 1, 1))
    )
    await pipeline.run()
    await scheduler.close()
    status = pipeline.status()
    assert (status.received, status.processed, status.dropped) == (100, 2, {"fps": 98})
    assert [window.after for window in engine.windows] == [None, None], "pictures so far apart are no gap"
    assert engine.windows[-1].frames[-1].image.shape == (6, 6, 3)
