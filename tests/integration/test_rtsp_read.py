"""Opening RTSP streams from a real server: what is read, and what is said when nothing can be."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stream.errors import SourceInvalid, SourceNotFound, SourceUnauthorized, SourceUnavailable, StreamError
from stream.sources import SourceOptions, open_source
from stream.types import Frame
from tests.support.rtsp_server import RtspServer, index_frames, read_index

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CLIP = index_frames(50)
LONG_CLIP = index_frames(200)
PASSWORD = "p@ss:w/rd#1%"
HASTY = SourceOptions(open_timeout_s=1.0, read_timeout_s=1.0)


async def take(url: str, count: int, options: SourceOptions | None = None) -> list[Frame]:
    source = open_source("door", url, options=options)
    frames: list[Frame] = []
    async with aclosing(source.frames()) as stream:
        async for frame in stream:
            frames.append(frame)
            if len(frames) == count:
                break
    return frames


async def failure(url: str, options: SourceOptions | None = None) -> StreamError:
    with pytest.raises(StreamError) as caught:
        await take(url, 1, options)
    host = urlsplit(url).path.rpartition("/")[2]
    assert host in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
async def test_every_picture_comes_once_in_order(rtsp_server: RtspServer, transport: str, codec: str) -> None:
    url = rtsp_server.serve_clip(LONG_CLIP, gop=10, codec=codec, protocols=transport)
    frames = await take(url, 30, SourceOptions(transport=transport))
    indices = [read_index(frame.image) for frame in frames]
    steps = [(new - old) % len(LONG_CLIP) for old, new in itertools.pairwise(indices)]
    assert all(1 <= step <= 100 for step in steps)  # a busy machine loses some, never repeats or turns back
    assert [frame.seq for frame in frames] == list(range(30))
    assert all(new.pts > old.pts for old, new in itertools.pairwise(frames))
    assert all(new.captured_at_s >= old.captured_at_s for old, new in itertools.pairwise(frames))
    assert frames[0].image.shape == CLIP[0].shape
    assert {frame.clock for frame in frames} == {"arrival"}


async def test_a_transport_that_the_server_refuses_is_said(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP, protocols="tcp")
    error = await failure(url, SourceOptions(transport="udp", open_timeout_s=2, keyframe_timeout_s=2))
    assert isinstance(error, SourceUnavailable)


@pytest.mark.parametrize("auth", ["basic", "digest"])
async def test_credentials_open_the_stream_and_wrong_ones_are_told_without_printing_them(
    rtsp_server: RtspServer, auth: str
) -> None:
    url = rtsp_server.serve_clip(CLIP, gop=5, user="ad min", password=PASSWORD, auth=auth)
    assert len(await take(url, 2)) == 2
    wrong = url.replace("%3A", "%3B")
    for refused in (wrong, url.partition("@")[0].rpartition("//")[0] + "//" + url.rpartition("@")[2]):
        error = await failure(refused)
        assert isinstance(error, SourceUnauthorized)
        assert "ss%3" not in str(error)
        assert "p@ss" not in str(error)


def self_signed(path: Path) -> Path:
    """A PEM file with a key and a certificate for this machine that nobody else vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate,
    )
    return path


async def test_rtsp_over_tls(tmp_path: Path) -> None:
    with RtspServer(tmp_path, certificate=self_signed(tmp_path / "server.pem")) as server:
        url = server.serve_clip(CLIP, gop=5, protocols="tcp", user="admin", password=PASSWORD)
        assert url.startswith("rtsps://")
        frames = await take(url, 5)
        assert frames[0].image.shape == CLIP[0].shape
        error = await failure(url.replace("%3A", "%3B"))
    assert isinstance(error, SourceUnauthorized)


async def test_a_wrong_path_is_not_found_and_may_come_back(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(CLIP)
    error = await failure(url.replace("clip0", "attic"))
    assert isinstance(error, SourceNotFound)
    assert error.retryable


async def test_sound_without_a_picture_is_no_video(rtsp_server: RtspServer) -> None:
    error = await failure(rtsp_server.serve_audio())
    assert isinstance(error, SourceInvalid)
    assert "no video stream" in str(error)


async def test_nobody_listening_and_no_such_host(unused_tcp_port: int) -> None:
    error = await failure(f"rtsp://user:hunter2@127.0.0.1:{unused_tcp_port}/cam")
    assert isinstance(error, SourceUnavailable)
    assert "connection refused" in str(error)
    error = await failure("rtsp://user:hunter2@nowhere.invalid/cam")
    assert isinstance(error, SourceUnavailable)
    assert "host name" in str(error)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


@asynccontextmanager
async def tcp_server(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers whatever it is told with the same bytes, and then is silent."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(1)
        writer.write(answer)
        await reader.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"rtsp://user:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}/cam"
        for writer in writers:
            writer.close()


async def test_a_mute_server_is_unavailable() -> None:
    async with tcp_server(b"") as url:
        error = await failure(url, HASTY)
    assert isinstance(error, SourceUnavailable)
    assert "no answer in time" in str(error)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", bytes(range(256)) * 64]
)
async def test_something_else_than_a_camera_is_an_error(answer: bytes) -> None:
    async with tcp_server(answer) as url:
        error = await failure(url, HASTY)
    assert isinstance(error, SourceUnavailable | SourceInvalid)
