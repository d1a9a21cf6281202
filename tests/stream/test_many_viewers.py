"""Viewers come and go by the dozen, politely or not, and the server is as it was: `make stress` does it for longer."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from stream.server import ServerOptions
from stream.webrtc.sessions import SessionLimits
from tests.stream.test_webrtc import Viewer, Watched, watched
from tests.stream.viewer_frames import until

VIEWERS = 64
AT_ONCE = 16
MINUTES = float(os.environ.get("SYNCVIS_STRESS_MINUTES", "0"))
"""0: one round."""


class Passing(Viewer):
    """A viewer that counts the pictures that it gets, and decodes none."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__(http)
        self.pictures = 0
        self.receiver._handle_rtp_packet = self._count

    async def _count(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.pictures += packet.marker

    async def visit(self, *, politely: bool) -> None:
        """Watch two pictures and go, with a DELETE or without a word over HTTP."""
        async with self:
            assert (await self.watch("VP8" if politely else "H264")).status_code == 201
            await until(lambda: self.pictures >= 2)
            if politely:
                assert (await self.http.delete(self.location)).status_code == 200


def left_behind() -> Counter[str]:
    """What would grow if something was forgotten: connections, tasks, file descriptors."""
    gc.collect()
    kinds: Counter[str] = Counter()
    kinds["connections"] = sum(type(each) is RTCPeerConnection for each in gc.get_objects())
    kinds["tasks"] = len(asyncio.all_tasks())
    kinds["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    return kinds


async def round_of(server: Watched) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def visit(number: int) -> None:
        async with places:
            await Passing(server.http).visit(politely=number % 2 == 0)

    await asyncio.gather(*(visit(number) for number in range(VIEWERS)))
    await until(lambda: server.sessions == 0)
    await until(lambda: server.service.hub("cam").subscribers == 0)


@pytest.mark.timeout(120 + 90 * MINUTES)
async def test_many_viewers_join_and_leave_and_nothing_stays_behind() -> None:
    async with watched(ServerOptions(limits=SessionLimits(viewers=VIEWERS))) as server:
        await Passing(server.http).visit(politely=True)
        await until(lambda: server.sessions == 0)
        before, ends = left_behind(), time.monotonic() + 60 * MINUTES
        await round_of(server)
        while time.monotonic() < ends:
            await round_of(server)
        await until(lambda: not grown(before))
        registry: Any = server.service.registry
        assert registry.get_sample_value("syncvis_viewers", {"camera": "cam"}) == 0


def grown(before: Counter[str]) -> Counter[str]:
    """What there is more of than before."""
    return left_behind() - before
