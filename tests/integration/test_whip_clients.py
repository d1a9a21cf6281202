"""WHIP with clients that are not ours, in processes of their own: they publish, they leave, they die."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stream.app import Service
from stream.server import ServerOptions, create_app
from stream.types import Frame
from tests.stream.frames import SquareEngine
from tests.stream.published import TOKEN, make_published
from tests.stream.viewer_frames import SIZE, serving, until
from tests.support.rtsp_server import SYSTEM_PYTHON

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parents[1] / "support"
PICTURES = 10


@asynccontextmanager
async def published_to(**camera: float) -> AsyncIterator[tuple[Service, str]]:
    """A service that runs, and where its camera is published."""
    service = make_published(**camera)
    app = create_app(service, ServerOptions(publish_tokens=(TOKEN,)))
    async with serving(app) as (_, address), service:
        yield service, f"{address}/whip/cam"


@asynccontextmanager
async def publisher(python: str, script: str, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client in a process of its own; at the end it leaves as it should, unless it is dead."""
    pipe = asyncio.subprocess.PIPE
    arguments = (str(SUPPORT / script), url, TOKEN)
    client = await asyncio.create_subprocess_exec(python, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    assert client.stdout is not None
    location = (await client.stdout.readline()).decode()
    if "/sessions/" not in location:
        pytest.fail((await client.communicate())[1].decode())
    yield client
    killed = client.returncode is not None
    _, errors = await client.communicate(b"")
    assert killed or client.returncode == 0, errors.decode()


def frames_of(service: Service) -> list[Frame]:
    assert isinstance(service.engine, SquareEngine)
    return [w.frames[-1] for w in tuple(service.engine.windows) if w.frames[-1].camera == "cam"]


@pytest.mark.parametrize(
    ("python", "script"),
    [(sys.executable, "aiortc_whip_client.py"), (SYSTEM_PYTHON, "gst_whip_client.py")],
    ids=["aiortc", "gstreamer"],
)
async def test_it_publishes_and_leaves(python: str, script: str) -> None:
    async with published_to() as (service, url):
        async with publisher(python, script, url):
            await until(lambda: len(frames_of(service)) >= PICTURES)
            assert frames_of(service)[-1].image.shape == (*SIZE, 3)
        assert not service.cameras.doorways["cam"].occupied, "it ended its session"


async def test_a_publisher_that_is_killed_makes_room_for_the_next() -> None:
    async with published_to(read_timeout_s=2) as (service, url):
        async with publisher(sys.executable, "aiortc_whip_client.py", url) as client:
            await until(lambda: len(frames_of(service)) >= PICTURES)
            client.kill()
            await client.wait()
        await until(lambda: not service.cameras.doorways["cam"].occupied)
        before = frames_of(service)[-1].seq
        async with publisher(sys.executable, "aiortc_whip_client.py", url):
            await until(lambda: frames_of(service)[-1].seq > before + PICTURES)
        breaks = [w.after for w in service.engine.windows if w.after]  # type: ignore[attr-defined]
        assert breaks == ["gap"]
