"""A camera that was allowed and sends on to a host that is not, by a real RTSP redirect: no picture comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from stream.camera_hosts import CameraHosts
from stream.errors import SourceForbidden
from stream.sources import open_source
from stream.types import Frame
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration

HERE, ELSEWHERE = "127.0.0.2", "127.0.0.1"


@asynccontextmanager
async def redirecting(to: str) -> AsyncIterator[str]:
    """An RTSP server at HERE that answers DESCRIBE with where the camera is; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                number = next(line for line in lines if line.lower().startswith("cseq:"))
                status, more = "200 OK", "Public: OPTIONS, DESCRIBE"
                if lines[0].startswith("DESCRIBE"):
                    status, more = "302 Found", f"Location: {to}"
                writer.write(f"RTSP/1.0 {status}\r\n{number}\r\n{more}\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, HERE, 0)
    async with server:
        yield f"rtsp://{HERE}:{server.sockets[0].getsockname()[1]}/x"


async def first_frame(url: str, allowed: Sequence[str]) -> Frame:
    source = open_source("door", url, admission=CameraHosts(allowed).admit(url))
    try:
        return await anext(source.frames())
    finally:
        await source.close()


async def test_a_redirect_leads_nowhere_that_is_not_allowed(rtsp_server: RtspServer) -> None:
    camera = rtsp_server.serve_clip(index_frames(25), fps=25, gop=25)
    async with redirecting(camera) as url:
        assert (await first_frame(url, [HERE, ELSEWHERE])).seq == 0, "the redirect is followed"
        with pytest.raises(SourceForbidden, match=rf"has led to {ELSEWHERE}, which is not allowed"):
            await first_frame(url, [HERE])
        with pytest.raises(SourceForbidden, match=r"host '127\.0\.0\.1' is not allowed"):
            await first_frame(camera, [HERE])


async def test_a_name_that_means_another_address_by_now_shows_nothing(rtsp_server: RtspServer) -> None:
    camera = rtsp_server.serve_clip(index_frames(25), fps=25, gop=25).replace(ELSEWHERE, "localhost")

    async def harmless(host: str) -> list[str]:
        return ["192.0.2.9"]  # what its name server said when it was asked before

    source = open_source("door", camera, admission=CameraHosts(None, harmless).admit(camera))
    with pytest.raises(SourceForbidden, match=r"has led to (127\.0\.0\.1|::1), which is not allowed"):
        await anext(source.frames())
    await source.close()
