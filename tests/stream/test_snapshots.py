"""A camera that goes on from a snapshot, in another process, goes on as if nothing had happened."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load

from stream.engine import RESUMED_WITHIN_S, TrackerEngine
from stream.errors import ConfigError, DataError
from stream.scheduler import Scheduler
from stream.types import Frame, Window
from stream.window import RollingWindows
from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import TrackerConfig
from syncvis_online.online import OnlineTracker
from tests.stream.frames import SquareEngine, scheduler_of
from tests.syncvis_online.models import TINY, pictures, tiny_model

FPS = 10.0
BEFORE, AFTER = 7, 6
TRACKER = TrackerConfig(
    window_frames=3,
    birth_score=0.05,
    keep_score=0.04,
    max_lost_s=0.35,
    reidentify_s=0.5,
    duplicate_iou=0.9,
    min_area=1,
)

Seen = list[dict[int, str]]


def engine_of(memory_entries: int = 0) -> TrackerEngine:
    """The same one in each process: its weights come from a fixed seed."""
    model = tiny_model(3, replace(TINY, memory_entries=memory_entries))
    return TrackerEngine(OnlineTracker(Checkpoint(model, TRACKER, {})))


def windows_of(count: int, start: int = 0, later_s: float = 0.0) -> list[Window]:
    """Windows whose newest frames are `start` to `count` - 1, those of one long stream."""
    rolling, windows = RollingWindows(3, 1, max_gap_s=1.0), []
    for i, image in enumerate(pictures(count)):
        window = rolling.push(Frame("a", i, i, Fraction(1, 10), i / FPS + later_s, image))
        assert window is not None
        windows.append(window)
    return windows[start:]


def answers(engine: TrackerEngine, windows: Sequence[Window]) -> Seen:
    return [
        {track.track_id: track.mask["counts"] for track in frame.tracks}
        for window in windows
        for frame in engine.process(window).frames
    ]


def go_on_elsewhere(snapshots: dict[int, bytes]) -> dict[int, Seen]:
    """What another process makes of the rest of the stream."""
    told = {}
    for memory_entries, data in snapshots.items():
        engine = engine_of(memory_entries)
        engine.restore("a", data)
        told[memory_entries] = answers(engine, windows_of(BEFORE + AFTER, BEFORE))
    return told


def test_another_process_gives_the_same_ids_and_masks() -> None:
    wanted, snapshots = {}, {}
    for memory_entries in (0, 3):
        engine = engine_of(memory_entries)
        assert engine.snapshot("a") is None
        answers(engine, windows_of(BEFORE))
        data = engine.snapshot("a")
        assert data is not None
        snapshots[memory_entries] = data
        wanted[memory_entries] = answers(engine, windows_of(BEFORE + AFTER, BEFORE))
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        got = processes.apply(go_on_elsewhere, (snapshots,))
    assert got == wanted
    assert all(sum(map(len, seen)) >= AFTER for seen in wanted.values())


@pytest.mark.parametrize(("away_s", "kept"), [(0.9 * RESUMED_WITHIN_S, True), (2 * RESUMED_WITHIN_S, False)])
def test_ids_outlast_a_move_that_takes_longer_than_they_are_remembered(away_s: float, kept: bool) -> None:
    engine = engine_of()
    before = answers(engine, windows_of(BEFORE))[-1].keys()
    data = engine.snapshot("a")
    assert before
    assert data is not None
    other = engine_of()
    other.restore("a", data, first_id=1000)
    after = answers(other, windows_of(BEFORE, later_s=BEFORE / FPS + away_s))
    ids = set().union(*after)
    assert bool(ids & before) == kept
    assert all(each in before or each >= 1000 for each in ids)
    assert any(each >= 1000 for each in ids) or kept


async def test_a_service_takes_and_gives_snapshots_between_turns() -> None:
    engine = engine_of()
    scheduler = Scheduler(engine)
    assert await scheduler.snapshot("a") is None, "it does not run yet"
    scheduler.start()
    try:
        windows = windows_of(BEFORE)
        for window in windows:
            await scheduler.serve("a", lambda window=window: (window,))  # type: ignore[misc]
        data = await scheduler.snapshot("a")
        assert data is not None
        with pytest.raises(DataError, match="tracker state"):
            await scheduler.restore("b", data[: len(data) // 2])
        assert await scheduler.snapshot("b") is None
        await scheduler.restore("b", data)
        again = await scheduler.snapshot("b")
        assert again is not None
        kept, given = load(again), load(data)
        assert kept.keys() == given.keys()
        assert all(torch.equal(kept[name].nan_to_num(), given[name].nan_to_num()) for name in kept)
    finally:
        await scheduler.close()


async def test_an_engine_without_state_says_so() -> None:
    async with scheduler_of(SquareEngine()) as scheduler:
        assert await scheduler.snapshot("a") is None
        with pytest.raises(ConfigError, match="keeps no state"):
            await scheduler.restore("a", b"")
