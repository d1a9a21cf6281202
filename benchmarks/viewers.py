"""What one more viewer costs the server: one encode for all beside an encoder for each, in one run.

    python -m benchmarks.viewers [--viewers 1 4 16 64] [--seconds 10] [--json FILE] [--plot FILE]

A process serves overlay pictures of 640x360 at 25 a second, drawn from rendered frames and their true masks (no model
runs), and another one watches: aiortc peers that count pictures and throw the packets away, neither decoding nor
reporting. Once the server is this project's; once plain aiortc, a track for each viewer, H.264 too, as far as two cores
carry it. A third part has readers of the tracks' WebSocket in place of viewers. CPU is the server process's own, of one
core; `fps` is what the slowest viewer got.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np
import psutil
import uvicorn
import websockets
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.rtp import RtpPacket
from fastapi import FastAPI, Request, Response
from tabulate import tabulate

from benchmarks.no_model import NoModel
from benchmarks.report import add_outputs, lines
from stream.app import Service
from stream.config import parse_config
from stream.hub import Subscription
from stream.server import ServerOptions, create_app
from stream.types import TrackedFrame
from stream.webrtc.feed import render_planes
from stream.webrtc.ice import IceOptions, listen_on
from stream.webrtc.sessions import SessionLimits
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.types import Track, box_of_mask, encode_mask

FPS = 25
FRAMES = 50
WARM_UP_S = 3.0
SDP = {"Content-Type": "application/sdp"}
NAMES = {"shared": "this server", "plain": "plain aiortc", "tracks alone": "tracks on the WebSocket"}


def rendered() -> list[TrackedFrame]:
    """Frames of the synthetic world, at 25 a second, with their true masks as tracks."""
    world, frames = SyntheticWorld(load_level("medium"), seed=7, fps=FPS), []
    for seq in range(FRAMES):
        shown = world.step()
        tracks = tuple(
            Track(each.track_id, each.label, 1.0, encode_mask(each.mask), box_of_mask(each.mask))
            for each in shown.objects
        )
        frames.append(
            TrackedFrame("cam", seq, 3600 * seq, Fraction(1, 90_000), 0.0, "arrival", tracks, shown.image)
        )
    return frames


async def publish(give: Callable[[TrackedFrame], object], frames: list[TrackedFrame]) -> None:
    """Give the frames to and fro, at their pace, for ever."""
    loop, began, seq = asyncio.get_running_loop(), time.monotonic(), 0
    while True:
        place = seq % (2 * FRAMES - 2)
        frame = frames[min(place, 2 * FRAMES - 2 - place)]
        give(replace(frame, seq=seq, captured_at_s=began + seq / FPS))
        seq += 1
        await asyncio.sleep(max(0.0, began + seq / FPS - loop.time()))


def shared_app() -> tuple[FastAPI, Callable[[TrackedFrame], object]]:
    """This project's server."""
    service = Service(parse_config({"cameras": {"cam": {"url": "synthetic:1"}}}, "benchmark"), NoModel())
    options = ServerOptions(limits=SessionLimits(viewers=256))
    return create_app(service, options), service.hub("cam").publish


class OwnTrack(MediaStreamTrack):
    """The newest picture whenever this viewer's own encoder asks."""

    kind = "video"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self._subscription = subscription

    async def recv(self) -> av.VideoFrame:
        """The next picture."""
        tracked = await anext(self._subscription)
        frame = av.VideoFrame.from_numpy_buffer(_planes(tracked), format="yuv420p")
        frame.pts, frame.time_base = round(tracked.captured_at_s * 90_000), Fraction(1, 90_000)
        return frame


_drawn: dict[int, np.ndarray[Any, np.dtype[np.uint8]]] = {}


def _planes(frame: TrackedFrame) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Drawn once for all viewers, which is kinder to plain aiortc than its users are."""
    if frame.seq not in _drawn:
        _drawn.clear()
        _drawn[frame.seq] = render_planes(frame)
    return _drawn[frame.seq]


def plain_app() -> tuple[FastAPI, Callable[[TrackedFrame], object]]:
    """aiortc as its examples use it: a track and an encoder for each viewer."""
    service = Service(parse_config({"cameras": {"cam": {"url": "synthetic:1"}}}, "benchmark"), NoModel())
    app, peers, hub = FastAPI(), set[RTCPeerConnection](), service.hub("cam")

    @app.post("/whep/cam")
    async def watch(request: Request) -> Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.add(peer)
        transceiver = peer.addTransceiver(OwnTrack(hub.subscribe()), direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in codecs if c.mimeType in ("video/H264", "video/rtx")])
        offer = (await request.body()).decode()
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        listen_on(peer, IceOptions())
        await peer.setLocalDescription(await peer.createAnswer())
        return Response(peer.localDescription.sdp, 201, media_type="application/sdp")

    return app, hub.publish


async def serve(kind: str) -> None:
    """The server's process: says its port, and serves until it is ended."""
    app, give = shared_app() if kind == "shared" else plain_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    publishing = asyncio.create_task(publish(give, rendered()))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.wait({publishing, serving}, return_when=asyncio.FIRST_COMPLETED)


class Counting:
    """A peer that counts pictures, by the marker bit of their last packets, and throws them away."""

    def __init__(self) -> None:
        self.pictures = self.bytes = 0
        self.first_s = 0.0
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        receiver = self.peer.addTransceiver("video", direction="recvonly").receiver
        receiver._handle_rtp_packet = self._count  # type: ignore[method-assign]

    async def _count(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.pictures += packet.marker
        self.bytes += len(packet.payload)

    async def watch(self, http: httpx.AsyncClient) -> None:
        """Connect; returns when the first picture is there."""
        began = time.monotonic()
        await self.peer.setLocalDescription(await self.peer.createOffer())
        listen_on(self.peer, IceOptions())
        answer = await http.post("/whep/cam", content=self.peer.localDescription.sdp, headers=SDP)
        answer.raise_for_status()
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        while not self.pictures:  # noqa: ASYNC110  # counted by aiortc's own task
            await asyncio.sleep(0.005)
        self.first_s = time.monotonic() - began


class Reading:
    """A reader of the tracks' WebSocket."""

    def __init__(self) -> None:
        self.pictures = self.bytes = 0
        self.first_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def watch(self, http: httpx.AsyncClient) -> None:
        """Connect, and read from now on."""
        url = f"ws://{http.base_url.host}:{http.base_url.port}/ws/cameras/cam/tracks"
        self._task = asyncio.create_task(self._read(await websockets.connect(url)))

    async def _read(self, socket: websockets.ClientConnection) -> None:
        async for message in socket:
            self.pictures += 1
            self.bytes += len(message)


async def watch(port: int, what: str) -> None:
    """The viewers' process: for each line with a number, be so many, and tell what each got within the time given."""
    viewers: list[Counting | Reading] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        while line := await asyncio.to_thread(sys.stdin.readline):
            count, seconds = int(line.split()[0]), float(line.split()[1])
            while len(viewers) < count:
                viewers.append(Counting() if what == "picture" else Reading())
                await viewers[-1].watch(http)
            await asyncio.sleep(WARM_UP_S)
            print("ready", flush=True)
            before, began = [(v.pictures, v.bytes) for v in viewers], time.monotonic()
            await asyncio.sleep(seconds)
            took = time.monotonic() - began
            got = [
                ((v.pictures - p) / took, 8 * (v.bytes - b) / took, v.first_s)
                for v, (p, b) in zip(viewers, before, strict=True)
            ]
            print(json.dumps(got), flush=True)


@dataclass(frozen=True)
class Row:
    """`cpu` is of one core, in percent; `kbps` of each viewer; `first_ms`: the median from the offer to a picture."""

    server: str
    viewers: int
    cpu: float
    fps_slowest: float
    kbps: float
    first_ms: float


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """This module in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.viewers", *arguments, stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise SystemExit("a part of the benchmark ended early")
    return line.decode().strip()


async def measure(server: str, what: str, counts: list[int], seconds: float) -> list[Row]:
    """One server, more and more viewers."""
    name = server if what == "picture" else "tracks alone"
    rows = []
    async with child("--serve", server) as serving:
        port, process = await line_of(serving), psutil.Process(serving.pid)
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(seconds)
        idle = 100 * (sum(process.cpu_times()[:2]) - before) / seconds
        rows.append(Row(name, 0, idle, 0.0, 0.0, 0.0))
        async with child("--watch", port, what) as watching:
            assert watching.stdin is not None
            for count in counts:
                watching.stdin.write(f"{count} {seconds}\n".encode())
                await line_of(watching)
                began, before = time.monotonic(), sum(process.cpu_times()[:2])
                got = json.loads(await line_of(watching))
                cpu = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
                fps, bps, first_s = (list(column) for column in zip(*got, strict=True))
                first_ms = 1000 * statistics.median(first_s)
                rows.append(Row(name, count, 100 * cpu, min(fps), sum(bps) / len(bps) / 1000, first_ms))
                print(_line(rows[-1]), file=sys.stderr)
    return rows


def _line(row: Row) -> str:
    return f"{row.server}: {row.viewers} viewers, {row.cpu:.1f} % of a core, {row.fps_slowest:.1f} fps"


def slope(rows: list[Row]) -> float | None:
    """Percent of a core for one more viewer, by least squares over those who were served in full; None of fewer than
    two.
    """
    served = [row for row in rows if row.viewers and row.fps_slowest >= FPS - 1]
    if len(served) < 2:
        return None
    return float(np.polyfit([row.viewers for row in served], [row.cpu for row in served], 1)[0])


async def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    counts: list[int] = arguments.viewers
    rows = await measure("shared", "picture", counts, arguments.seconds)
    rows += await measure("plain", "picture", [n for n in counts if n <= 4], arguments.seconds)
    rows += await measure("shared", "tracks", counts, arguments.seconds)
    table = [
        [
            *(r.server, r.viewers, f"{r.cpu:.1f}", f"{10 * r.cpu / FPS:.2f}"),
            *(f"{r.fps_slowest:.1f}", f"{r.kbps:.0f}", f"{r.first_ms:.0f}"),
        ]
        for r in rows
    ]
    names = [
        "server",
        "viewers",
        "CPU %",
        "CPU ms a picture",
        "fps of the slowest",
        "kbit/s",
        "first picture, ms",
    ]
    print(tabulate(table, names, tablefmt="github"))
    slopes = {
        name: slope([r for r in rows if r.server == name]) for name in dict.fromkeys(r.server for r in rows)
    }
    for name, value in slopes.items():
        if value is not None:
            print(f"{name}: {value:.2f} % of a core for one more viewer, {10 * value / FPS:.3f} ms a picture")
    if arguments.json:
        text = json.dumps({"rows": [asdict(row) for row in rows], "slopes": slopes}, indent=2)
        arguments.json.write_text(re.sub(r"(\.\d{3})\d+", r"\1", text) + "\n")
    if arguments.plot:
        curves = {
            shown: [(row.viewers, row.cpu) for row in rows if row.server == name and row.viewers]
            for name, shown in NAMES.items()
        }
        lines(curves, arguments.plot, x="viewers", y="server CPU, % of a core", doubling=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0)
    add_outputs(parser)
    parser.add_argument("--serve", choices=["shared", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--watch", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
    elif given.watch:
        asyncio.run(watch(int(given.watch[0]), given.watch[1]))
    else:
        asyncio.run(main(given))
