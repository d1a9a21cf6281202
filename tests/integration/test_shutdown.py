"""Ctrl-C and SIGTERM end a serving process within 3 s, whoever is connected, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.integration.processes import ServeProcess, write_config
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration

LIMIT_S = 3.0


@pytest.fixture
def rtsp_url(tmp_path: Path) -> Iterator[str]:
    with RtspServer(tmp_path) as server:
        yield server.serve_clip(index_frames(25), fps=25, gop=25)


def is_running(process: psutil.Process) -> bool:
    """Whether it is there and not a zombie that waits for its parent."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def post_offer(http: httpx.AsyncClient, camera: str, peer: RTCPeerConnection) -> httpx.Response:
    """What the server says to a viewer's offer."""
    sdp = peer.localDescription.sdp
    return await http.post(f"/whep/{camera}", content=sdp, headers={"Content-Type": "application/sdp"})


async def watch_whep(http: httpx.AsyncClient, camera: str) -> RTCPeerConnection:
    """A WebRTC viewer that has received a picture."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    answer = await post_offer(http, camera, peer)
    assert answer.status_code == 201, answer.text
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    await receiver.track.recv()
    return peer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_time_with_viewers_connected(
    number: signal.Signals, tmp_path: Path, rtsp_url: str
) -> None:
    config = write_config(tmp_path, {"yard": rtsp_url, "gone": "rtsp://me:hunter2@127.0.0.1:9/x"})
    with ServeProcess(config) as server:
        socket_address = server.address.replace("http", "ws") + "/ws/cameras/yard/tracks"
        async with (
            httpx.AsyncClient(base_url=server.address) as http,
            websockets.connect(socket_address) as ws,
        ):
            await ws.recv()
            peer = await watch_whep(http, "yard")
            descendants = psutil.Process(server.pid).children(recursive=True)
            assert descendants, "a live camera is decoded in a process of its own"
            code, _ = await asyncio.to_thread(server.end, number)
            assert code == 0, server.errors()
            # Measured by the process itself: how long the interpreter then takes to go is the machine's load.
            closed = re.search(r"all is closed, (\d+\.\d+) s after", server.errors())
            assert closed is not None, server.errors()
            assert float(closed.group(1)) < LIMIT_S
            with contextlib.suppress(websockets.ConnectionClosedError):  # 1012, service restart, is raised
                async for _ in ws:
                    pass
            assert ws.close_code in (1001, 1012)
            await peer.close()
    assert not [child for child in descendants if is_running(child)]
    assert "Traceback" not in server.errors()
    assert "hunter2" not in server.errors()


async def until_health_is(http: httpx.AsyncClient, status: int) -> None:
    """Each time on a connection of its own, as a probe asks."""
    deadline = time.monotonic() + 60
    while (await http.get("/healthz", headers={"Connection": "close"})).status_code != status:
        assert time.monotonic() < deadline


async def test_while_it_drains_viewers_stay_and_new_ones_are_sent_away_until_a_second_signal(
    tmp_path: Path, rtsp_url: str
) -> None:
    config = write_config(tmp_path, {"yard": rtsp_url}, server={"port": 0, "drain_s": 3600})
    with ServeProcess(config) as server:
        socket_address = server.address.replace("http", "ws") + "/ws/cameras/yard/tracks"
        async with (
            httpx.AsyncClient(base_url=server.address) as http,
            websockets.connect(socket_address) as ws,
        ):
            await ws.recv()
            peer = await watch_whep(http, "yard")
            psutil.Process(server.pid).send_signal(signal.SIGTERM)
            await until_health_is(http, 503)
            refused = await post_offer(http, "yard", peer)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            refused_at_s = time.time()
            while json.loads(await ws.recv())["captured_at_s"] < refused_at_s:
                pass
            assert peer.connectionState == "connected"
            code, _ = await asyncio.to_thread(server.end, signal.SIGTERM)
            assert code == 0, server.errors()
            await peer.close()


async def test_draining_comes_to_its_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"street": "synthetic:7"}, server={"port": 0, "drain_s": 1})
    with ServeProcess(config) as server:
        code, took_s = await asyncio.to_thread(server.end, signal.SIGTERM)
        assert code == 0, server.errors()
        assert took_s >= 1
