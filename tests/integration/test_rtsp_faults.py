"""What live sources do when something breaks: servers, readers, networks, consumers, the parent itself."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import psutil
import pytest

from stream.errors import SourceUnavailable, StreamError
from stream.sources import ReconnectPolicy, SourceOptions, Supervisor, open_source, warm_up
from stream.sources.rtsp import LiveSource
from stream.types import Frame
from tests.support.rtsp_server import (
    Mount,
    RtspServer,
    encode_access_units,
    index_frames,
    read_index,
    write_access_units,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CLIP = index_frames(50)
QUICK = ReconnectPolicy(initial_delay_s=0.05, max_delay_s=0.2)


class Camera:
    """A supervised camera, and all that was told about it."""

    def __init__(self, url: str, options: SourceOptions | None = None) -> None:
        self.states: list[bool] = []
        self.reconnects: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.errors: list[StreamError] = []
        self.sources: list[LiveSource] = []
        self._url, self._options = url, options
        supervisor = Supervisor(self._open, policy=QUICK, observer=self)
        self.frames: AsyncGenerator[Frame, None] = supervisor.frames()

    def _open(self) -> LiveSource:
        source = open_source("door", self._url, options=self._options)
        assert isinstance(source, LiveSource)
        self.sources.append(source)
        return source

    def on_state(self, up: bool) -> None:
        self.states.append(up)

    def on_reconnect(self, reason: str) -> None:
        self.reconnects.append(reason)

    def on_drop(self, cause: str, count: int) -> None:
        self.dropped[cause] += count

    def on_error(self, error: StreamError) -> None:
        self.errors.append(error)

    async def take(self, count: int) -> list[Frame]:
        return [await anext(self.frames) for _ in range(count)]

    def kill_reader(self) -> None:
        pid = self.sources[-1].reader_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


async def test_a_server_that_is_killed_and_started_again_comes_back(rtsp_server: RtspServer) -> None:
    camera = Camera(rtsp_server.serve_clip(CLIP, gop=5))
    async with aclosing(camera.frames):
        before = await camera.take(5)
        rtsp_server.kill()
        back = asyncio.create_task(camera.take(40))
        while not camera.errors:
            await asyncio.wait({back}, timeout=0.01)
        rtsp_server.start()
        frames = before + await back
    assert [frame.seq for frame in frames] == list(range(45))
    gaps = [frame.seq for frame in frames if frame.discontinuity]
    assert len(gaps) == 1
    assert camera.reconnects == ["unavailable"]
    assert camera.states == [True, False, True, False]


async def test_a_reader_that_is_killed_takes_its_camera_only_and_comes_back(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5)
    victim, sibling = Camera(url), Camera(url)
    async with aclosing(victim.frames), aclosing(sibling.frames):
        await asyncio.gather(victim.take(3), sibling.take(3))
        victim.kill_reader()
        frames, others = await asyncio.gather(victim.take(20), sibling.take(20))
    assert sum(frame.discontinuity for frame in frames) == 1
    assert [frame.seq for frame in frames] == list(range(3, 23))
    assert "reader process died" in str(victim.errors[0])
    assert sibling.errors == []
    assert not any(frame.discontinuity for frame in others)
    assert len({camera.sources[0].reader_pid for camera in (victim, sibling)}) == 2


@contextmanager
def no_free_descriptors() -> Iterator[None]:
    """This process may open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_camera_outlives_a_time_without_descriptors(rtsp_server: RtspServer) -> None:
    camera = Camera(rtsp_server.serve_clip(CLIP, gop=5))
    async with aclosing(camera.frames):
        with no_free_descriptors():
            first = asyncio.create_task(camera.take(1))
            while len(camera.errors) < 2:
                await asyncio.wait({first}, timeout=0.01)
        assert len(await first) == 1
    assert {type(error) for error in camera.errors} == {SourceUnavailable}
    assert "cannot be started (Too many open files)" in str(camera.errors[0])


async def test_a_server_that_falls_silent_is_unavailable_in_time(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5)
    source = open_source("door", url, options=SourceOptions(read_timeout_s=0.5))
    frames = source.frames()
    await anext(frames)
    rtsp_server.send_signal(signal.SIGSTOP)
    with pytest.raises(SourceUnavailable, match="no more pictures"):
        await drain(frames)


async def test_a_slow_consumer_gets_new_pictures_and_every_loss_is_counted(rtsp_server: RtspServer) -> None:
    camera = Camera(rtsp_server.serve_clip(CLIP, gop=5))
    other = Camera(rtsp_server.url(rtsp_server.mounts[0]))
    async with aclosing(camera.frames), aclosing(other.frames):
        await camera.take(1)
        await other.take(30)  # more than a second in which nobody asks for the first camera's pictures
        late = await camera.take(4)
        newest = (await other.take(1))[0]
    assert camera.dropped["reader_backlog"] >= 10
    assert newest.captured_at_s - late[1].captured_at_s < 1.0  # [0] was sent on its way before


async def test_a_change_of_picture_size_is_a_discontinuity(rtsp_server: RtspServer, tmp_path: Path) -> None:
    units = [
        unit
        for width, height in ((320, 192), (256, 160))
        for unit in encode_access_units(index_frames(25, width, height), fps=25, gop=5)
    ]
    write_access_units(tmp_path / "two.units", units)
    camera = Camera(rtsp_server.add(Mount("/two", str(tmp_path / "two.units"), fps=50)))
    async with aclosing(camera.frames):
        frames = await camera.take(60)
    changes = [new.seq for old, new in itertools.pairwise(frames) if old.image.shape != new.image.shape]
    assert len(changes) >= 2
    assert [frame.seq for frame in frames if frame.discontinuity] == changes
    for frame in frames:
        assert 0 <= read_index(frame.image) < 25
    assert camera.errors == []


def leftovers() -> tuple[set[str], int, int]:
    """Open descriptors, memory shared with readers, and processes below those that this one started."""
    maps = Path("/proc/self/maps").read_text().count("memfd:frames")
    here = psutil.Process()
    below = len(here.children(recursive=True)) - len(here.children())
    return set(os.listdir("/proc/self/fd")), maps, below


@pytest.mark.parametrize("how", ["closed", "closed_by_another_task", "cancelled", "killed"])
async def test_nothing_is_left_of_a_source(rtsp_server: RtspServer, how: str) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5)
    warm_up()
    await Camera(url).frames.aclose()
    before = await asyncio.to_thread(leftovers)
    source = open_source("door", url)
    assert isinstance(source, LiveSource)
    frames = source.frames()
    await anext(frames)
    assert (await asyncio.to_thread(leftovers))[1:] == (1, 1)
    waiting = asyncio.create_task(drain(frames))
    await asyncio.wait({waiting}, timeout=0.1)
    if how == "cancelled":
        waiting.cancel()
    elif how == "killed":
        assert source.reader_pid is not None
        os.kill(source.reader_pid, signal.SIGKILL)
    elif how == "closed_by_another_task":
        await source.close()
    else:
        waiting.cancel()
        await asyncio.wait({waiting})
        await frames.aclose()
    await asyncio.wait({waiting})
    await source.close()
    await source.close()
    if how == "killed":
        assert isinstance(waiting.exception(), SourceUnavailable)
    elif how == "closed_by_another_task":
        assert waiting.exception() is None
    del frames
    assert await asyncio.to_thread(leftovers) == before


async def drain(frames: AsyncIterator[Frame]) -> None:
    async for _ in frames:
        pass


HASTY_PROGRAM = """
import asyncio, sys, time
from stream.sources import open_source

async def main():
    for _ in range(4):
        source = open_source("door", sys.argv[1])
        async for frame in source.frames():
            time.sleep(0.1)  # a blocked event loop: what the reader sends meanwhile is never read
            break
        await source.close()
    async for frame in open_source("door", sys.argv[1]).frames():
        break  # and one that nobody closes

asyncio.run(main())
"""


async def test_a_careless_program_ends_in_silence(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=1)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HASTY_PROGRAM, url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await program.communicate()
    assert output == b""
    assert program.returncode == 0


PROGRAM = """
import asyncio, sys
from stream.sources import open_source

async def main():
    source = open_source("door", sys.argv[1])
    async for frame in source.frames():
        print(source.reader_pid, flush=True)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
async def test_readers_end_with_their_parent_and_say_nothing(
    rtsp_server: RtspServer, signal_number: signal.Signals
) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5)
    # No __main__ guard and no import of the readers' own: a script of three lines must do.
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, url, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    assert parent.stdout is not None
    pidfd = os.pidfd_open(int(await parent.stdout.readline()))
    try:
        os.killpg(parent.pid, signal_number)  # as a terminal does
        _, errors = await parent.communicate()
        ended, _, _ = await asyncio.to_thread(select.select, [pidfd], [], [], 10)
        assert ended
    finally:
        os.close(pidfd)
    assert errors == b""


async def test_readers_carry_neither_torch_nor_the_password_in_sight(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5, user="admin", password="hunter2")
    camera = Camera(url)
    async with aclosing(camera.frames):
        await camera.take(1)
        process = Path(f"/proc/{camera.sources[-1].reader_pid}")
        maps, command = (process / "maps").read_text(), (process / "cmdline").read_bytes()
    assert "torch" not in maps
    assert "libavcodec" in maps
    assert b"hunter2" not in command
