from __future__ import annotations

import asyncio
import struct
import threading
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from stream.errors import SourceInvalid, SourceNotFound
from stream.sources import open_source
from stream.types import Frame
from tests.support.rtsp_server import index_frames, read_index


def write_video(path: Path, images: Sequence[Any], times_ms: Sequence[int]) -> Path:
    with av.open(str(path), "w") as container:
        stream = cast(Any, container.add_stream("libx264", rate=25))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time_ms in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, index_frames(30, 160, 96), [40 * index for index in range(30)])


async def read(url: str, **options: bool) -> list[Frame]:
    return [frame async for frame in open_source("file", url, **options).frames()]


async def test_every_frame_comes_once_in_order_and_file_urls_work_too(clip: Path) -> None:
    frames = await read(str(clip))
    assert [read_index(frame.image) for frame in frames] == list(range(30))
    assert [frame.seq for frame in frames] == list(range(30))
    assert frames[0].image.shape == (96, 160, 3)
    assert frames[0].image.dtype == np.uint8
    assert len(await read(clip.as_uri())) == 30


async def test_media_time_is_kept_and_counted_from_the_start_of_reading(clip: Path) -> None:
    frames = await read(str(clip))
    media = [float(frame.pts * frame.time_base) for frame in frames]
    captured = [frame.captured_at_s - frames[0].captured_at_s for frame in frames]
    assert np.diff(media) == pytest.approx([0.04] * 29)
    assert captured == pytest.approx([m - media[0] for m in media], abs=1e-3)
    assert {frame.clock for frame in frames} == {"media"}


async def test_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    times_ms = [0, 40, 200, 210, 1000]
    frames = await read(str(write_video(tmp_path / "vfr.mkv", index_frames(5, 160, 96), times_ms)))
    times = [round(1000 * float((frame.pts - frames[0].pts) * frame.time_base)) for frame in frames]
    assert times == times_ms


async def test_real_time_stamps_frames_when_they_are_due(clip: Path) -> None:
    frames = await read(str(clip), realtime=True)
    steps = np.diff([frame.captured_at_s for frame in frames])
    assert {frame.clock for frame in frames} == {"arrival"}
    assert np.allclose(steps / 0.04, np.round(steps / 0.04), atol=1e-3)  # a busy machine drops, never shifts
    assert steps.min() >= 0.039


def turn(clip: Path, turned: Path) -> Path:
    """A copy of an MP4 whose display matrix asks for a quarter turn clockwise, as telephones write it."""
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 44
    quarter_clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 96 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter_clockwise)
    turned.write_bytes(data)
    return turned


async def test_a_video_filmed_upright_is_turned_upright(clip: Path, tmp_path: Path) -> None:
    flat = (await read(str(clip)))[7]
    upright = (await read(str(turn(clip, tmp_path / "turned.mp4"))))[7]
    assert np.array_equal(upright.image, np.rot90(flat.image, -1))


def not_videos(directory: Path) -> dict[str, Path]:
    names = ("a.txt", "text.mp4", "empty.mp4", "picture.mp4", "sound.wav")
    paths = {name: directory / name for name in names}
    paths["a.txt"].write_text("hello\n" * 100)
    paths["text.mp4"].write_text("hello\n" * 100)
    paths["empty.mp4"].write_bytes(b"")
    with av.open(str(directory / "picture.png"), "w", format="image2") as container:
        stream = cast(Any, container.add_stream("png", rate=1))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    (directory / "picture.png").rename(paths["picture.mp4"])
    with wave.open(str(paths["sound.wav"]), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return paths | {"directory": directory}


@pytest.mark.parametrize("name", ["a.txt", "text.mp4", "empty.mp4", "picture.mp4", "sound.wav", "directory"])
async def test_what_is_not_a_video_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = not_videos(tmp_path)[name]
    with pytest.raises(SourceInvalid) as caught:
        await read(str(path))
    assert str(path) in str(caught.value)
    assert not caught.value.retryable


async def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"gone\.mp4: no such file") as caught:
        await read(str(tmp_path / "gone.mp4"))
    assert not caught.value.retryable


def damage(clip: Path, damaged: Path) -> Path:
    """A copy of an MP4 with a hole in its coded pictures."""
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat")
    data[start + 3000 : start + 5000] = bytes(2000)
    damaged.write_bytes(data)
    return damaged


async def test_a_damaged_file_gives_what_can_be_decoded(clip: Path, tmp_path: Path) -> None:
    frames = await read(str(damage(clip, tmp_path / "damaged.mp4")))
    assert 0 < len(frames) <= 30
    assert read_index(frames[0].image) == 0


async def test_leaving_early_ends_the_thread(clip: Path) -> None:
    source = open_source("file", str(clip))
    frames = source.frames()
    await anext(frames)
    assert any(thread.name == "source" for thread in threading.enumerate())
    await frames.aclose()
    await source.close()
    await asyncio.sleep(0)
    assert not any(thread.name == "source" for thread in threading.enumerate())
