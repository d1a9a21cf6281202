"""Ctrl-C and SIGTERM end a serving process within 3 s, whoever is connected, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
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


async def watch_whep(http: httpx.AsyncClient, camera: str) -> RTCPeerConnection:
    """A WebRTC viewer that has received a picture."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    answer = await http.post(
        f"/whep/{camera}",
        content=peer.localDescription.sdp,
        headers={"Content-Type": "application/sdp"},
    )
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
