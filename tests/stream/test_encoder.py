"""One encoder for all: real codecs, and real decoders that start at its keyframes."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from aiortc.codecs.h264 import h264_depayload
from aiortc.codecs.vpx import vp8_depayload
from numpy.typing import NDArray

from stream.webrtc.encoder import Codec, EncodedPicture, VideoEncoder

CODECS: list[Codec] = ["H264", "VP8"]
SIZE = (180, 320)


def planes(seq: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A picture with detail that moves, I420."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    luma = 128 + 60 * np.sin((x + 3 * seq) / 7) + 40 * np.sin(y / 5)
    noise = np.random.default_rng(seq).normal(0, 12, luma.shape)
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = np.clip(luma + noise, 16, 235)
    return picture


def encoded(
    codec: Codec, count: int, *, keyframes: tuple[int, ...] = (), bps: float = 600e3, fps: float = 25.0
) -> list[EncodedPicture]:
    encoder = VideoEncoder(codec)
    return [
        encoder.encode(planes(i), i, 3600 * i, keyframe=i in keyframes, bps=bps, fps=fps)
        for i in range(count)
    ]


def decoded(codec: Codec, pictures: list[EncodedPicture]) -> list[NDArray[Any]]:
    """What a decoder makes of the payloads, unpacked by aiortc as a peer does."""
    decoder = av.CodecContext.create("h264" if codec == "H264" else "libvpx", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    unpacked = h264_depayload if codec == "H264" else vp8_depayload
    return [
        frame.to_ndarray()
        for picture in pictures
        for frame in decoder.decode(av.Packet(b"".join(unpacked(payload) for payload in picture.payloads)))
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_only_the_first_and_the_wanted_pictures_are_keyframes_and_a_decoder_can_start_at_each(
    codec: Codec,
) -> None:
    pictures = encoded(codec, 40, keyframes=(17,))
    assert [p.seq for p in pictures if p.keyframe] == [0, 17]
    assert [p.ticks for p in pictures] == [3600 * i for i in range(40)]
    for start in (0, 17):
        shown = decoded(codec, pictures[start:])
        assert len(shown) == 40 - start, "no picture is held back"
        errors = [np.abs(shown[i].astype(int) - planes(start + i)).mean() for i in range(len(shown))]
        assert max(errors) < 12


@pytest.mark.parametrize("codec", CODECS)
def test_the_rate_is_bits_a_second_whatever_the_pace_and_can_change_on_the_way(codec: Codec) -> None:
    encoder = VideoEncoder(codec)
    bits: list[int] = []
    keyframes = 0
    for i in range(300):
        bps = 400e3 if i < 150 else 1200e3
        picture = encoder.encode(planes(i), i, 9000 * i, keyframe=False, bps=bps, fps=10.0)
        bits.append(8 * picture.size)
        keyframes += picture.keyframe
    low, high = sum(bits[50:150]) / 10, sum(bits[200:]) / 10
    assert 0.6 * 400e3 < low < 1.5 * 400e3
    assert 0.6 * 1200e3 < high < 1.5 * 1200e3
    assert keyframes == 2, "another rate is a new encoder"


@pytest.mark.parametrize("codec", CODECS)
def test_another_size_starts_with_a_keyframe(codec: Codec) -> None:
    encoder = VideoEncoder(codec)
    options = {"keyframe": False, "bps": 600e3, "fps": 25.0}
    pictures = [
        encoder.encode(planes(i, SIZE if i < 3 else (240, 426)), i, 3600 * i, **options)  # type: ignore[arg-type]
        for i in range(6)
    ]
    assert [p.keyframe for p in pictures] == [True, False, False, True, False, False]
    assert decoded(codec, pictures[3:])[-1].shape == (360, 426)


def test_planes_are_not_written_to() -> None:
    picture = planes(0)
    picture.setflags(write=False)
    VideoEncoder("H264").encode(picture, 0, 0, keyframe=True, bps=1e6, fps=25.0)
