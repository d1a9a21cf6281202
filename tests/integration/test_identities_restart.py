"""A server that is killed and started again goes on with ids that no viewer has ever seen."""

from __future__ import annotations

import asyncio
import itertools
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from stream.wire import decode
from tests.integration.processes import ServeProcess, write_config

pytestmark = pytest.mark.integration


async def seen_ids(address: str, frames: int) -> set[int]:
    """The ids on the next `frames` frames that show any."""
    ids: set[int] = set()
    async with asyncio.timeout(60), connect(f"ws{address[4:]}/ws/cameras/street/tracks") as stream:
        async for message in stream:
            found = {track.to_track().track_id for track in decode(message).tracks}
            ids |= found
            frames -= bool(found)
            if frames <= 0:
                break
    return ids


@pytest.mark.timeout(180)
async def test_no_id_comes_back_after_kill_9_nor_after_a_proper_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"street": "synthetic:3?fps=10"})
    lives = []
    for ends_with in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        with ServeProcess(config) as server:
            lives.append(await seen_ids(server.address, frames=5))
            server.end(ends_with)
    assert all(lives)
    for before, after in itertools.pairwise(lives):
        assert max(before) < min(after)
