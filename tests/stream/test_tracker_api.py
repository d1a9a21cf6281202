"""A program iterates a tracker: every frame of a file, errors where they belong, nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from stream import open_tracker
from stream.errors import ConfigError, SourceNotFound
from tests.stream.frames import SquareEngine


def nothing_left() -> bool:
    names = {thread.name for thread in threading.enumerate()}
    return asyncio.all_tasks() == {asyncio.current_task()} and not names & {"engine", "source"}


async def test_every_frame_comes_in_order() -> None:
    tracker = open_tracker("synthetic:3?frames=12&size=160x96", SquareEngine(4, 2))
    frames = [frame async for frame in tracker]
    status = tracker.status()
    assert [frame.seq for frame in frames] == list(range(12))
    assert frames[0].image.shape == (96, 160, 3)
    assert (status.received, status.processed, status.dropped) == (12, 12, {})
    assert nothing_left()


async def test_leaving_the_context_ends_everything() -> None:
    engine = SquareEngine()
    async with open_tracker("synthetic:3?size=160x96", engine) as tracker:
        async for frame in tracker:
            if frame.seq == 5:
                break
    assert nothing_left()


async def test_stop_ends_the_iteration_after_the_frames_in_work() -> None:
    tracker = open_tracker("synthetic:3?size=160x96", SquareEngine())
    seen = []
    async for frame in tracker:
        seen.append(frame.seq)
        if frame.seq == 5:
            tracker.stop()
    status = tracker.status()
    assert seen == list(range(len(seen)))
    assert status.received == len(seen) == status.processed
    assert nothing_left()


async def test_stop_before_the_start_gives_nothing() -> None:
    tracker = open_tracker("synthetic:3?size=160x96", SquareEngine())
    tracker.stop()
    assert [frame async for frame in tracker] == []
    assert nothing_left()


async def test_a_duration_is_of_captured_time() -> None:
    tracker = open_tracker("synthetic:3?size=160x96&fps=10", SquareEngine(), duration_s=0.95)
    assert [frame.seq async for frame in tracker] == list(range(10))


async def test_a_source_that_cannot_be_opened_is_an_error_of_the_iteration() -> None:
    with pytest.raises(SourceNotFound, match=r"nowhere\.mp4"):
        async for _ in open_tracker("nowhere.mp4", SquareEngine()):
            pass
    assert nothing_left()


@pytest.mark.parametrize("change", [{"source": "ftp://host/x"}, {"transport": "pigeon"}, {"duration_s": 0.0}])
def test_a_wrong_value_is_refused_at_once(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"source": "synthetic:1", "model": SquareEngine()}
    with pytest.raises(ConfigError):
        open_tracker(**(arguments | change))  # type: ignore[arg-type]


def test_importing_the_package_imports_neither_torch_nor_a_decoder() -> None:
    code = "import sys, stream; print({'torch', 'av', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
