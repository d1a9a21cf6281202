from __future__ import annotations

import threading
from contextlib import aclosing

import numpy as np
import pytest

import stream.sources
from stream.errors import ConfigError
from stream.sources import open_source
from stream.types import Frame
from syncvis_online.data.synthetic import SyntheticWorld, load_level

URL = "synthetic:7?level=medium&fps=20&size=160x96&frames=6"


async def read(url: str, *, realtime: bool = False) -> list[Frame]:
    async with aclosing(open_source("world", url, realtime=realtime).frames()) as frames:
        return [frame async for frame in frames]


async def test_the_camera_shows_the_world_of_its_seed() -> None:
    world = SyntheticWorld(load_level("medium"), 7, fps=20, size=(96, 160))
    frames = await read(URL)
    assert len(frames) == 6
    for frame in frames:
        assert np.array_equal(frame.image, world.step(masks=False).image)
    assert [frame.seq for frame in frames] == list(range(6))
    assert [float(frame.pts * frame.time_base) for frame in frames] == pytest.approx(np.arange(6) / 20)
    assert {frame.clock for frame in frames} == {"media"}


async def test_real_time_stamps_frames_when_they_are_due() -> None:
    frames = await read(URL, realtime=True)
    steps = np.diff([frame.captured_at_s for frame in frames]) * 20
    assert np.allclose(steps, np.round(steps), atol=1e-3)
    assert {frame.clock for frame in frames} == {"arrival"}


async def test_an_endless_world_ends_with_its_consumer() -> None:
    source = open_source("world", "synthetic:1?size=160x96")
    frames = source.frames()
    assert (await anext(frames)).image.shape == (96, 160, 3)
    await frames.aclose()
    assert not any(thread.name == "source" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("url", "realtime", "live"),
    [("synthetic:1", True, True), ("synthetic:1", False, False), (URL, True, False)],
)
def test_only_an_endless_world_in_real_time_is_live(url: str, realtime: bool, live: bool) -> None:
    assert open_source("world", url, realtime=realtime).live is live


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="impossible"):
        open_source("world", "synthetic:1?level=impossible")


def test_every_public_name_is_there() -> None:
    for name in stream.sources.__all__:
        assert getattr(stream.sources, name).__name__ in (name, "Callable")
    with pytest.raises(AttributeError):
        stream.sources.no_such_name  # noqa: B018
