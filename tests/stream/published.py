"""A server with a camera that is published, and a WHIP client, for the tests of WHIP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack
from av import VideoFrame
from fastapi import FastAPI

from stream.app import Service
from stream.config import parse_config
from stream.server import ServerOptions, create_app
from stream.stamp import draw_stamp
from tests.stream.frames import SquareEngine
from tests.stream.test_webrtc import SDP, only
from tests.stream.viewer_frames import SIZE

TOKEN, VIEW_TOKEN = "0123456789abcdef-publish", "0123456789abcdef-viewer"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def make_published(**camera: Any) -> Service:
    """A service, not started, with a camera "cam" that is published and a camera "other" that is not."""
    cameras = {"cam": {"url": "whip:", **camera}, "other": {"url": "synthetic:1"}}
    return Service(
        parse_config({"cameras": cameras, "server": {"publish_tokens": [TOKEN]}}, "test"), SquareEngine()
    )


@dataclass
class Published:
    """A server that is asked in-process; its cameras run."""

    app: FastAPI
    service: Service
    http: httpx.AsyncClient

    @property
    def sessions(self) -> int:
        return len(self.app.state.publishers)

    @property
    def engine(self) -> SquareEngine:
        assert isinstance(self.service.engine, SquareEngine)
        return self.service.engine

    @property
    def seqs(self) -> list[int]:
        """The numbers of the camera's frames that were tracked."""
        return [w.frames[-1].seq for w in self.engine.windows if w.frames[-1].camera == "cam"]

    async def state(self) -> dict[str, Any]:
        return dict((await self.http.get("/api/cameras/cam")).json())


@asynccontextmanager
async def published(options: ServerOptions | None = None, **camera: Any) -> AsyncIterator[Published]:
    service = make_published(**camera)
    app = create_app(service, options or ServerOptions(publish_tokens=(TOKEN,)))
    async with (
        app.router.lifespan_context(app),
        service,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=BEARER) as http,
    ):
        yield Published(app, service, http)


class Stamped(VideoStreamTrack):
    """Pictures with their numbers drawn into them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def recv(self) -> VideoFrame:
        pts, _ = await self.next_timestamp()
        image = np.full((*SIZE, 3), 100, np.uint8)
        draw_stamp(image, self.count)
        self.count += 1
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, Fraction(1, 90_000)
        return frame


class Publisher:
    """A WHIP client."""

    def __init__(self, http: httpx.AsyncClient, *, audio: bool = False) -> None:
        self.http = http
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sender = self.peer.addTransceiver(Stamped(), direction="sendonly").sender
        if audio:
            self.peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
        self.location = ""

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def publish(self, codec: str = "") -> httpx.Response:
        answer = await self.http.post("/whip/cam", content=only(await self.offer(), codec), headers=SDP)
        if answer.status_code == 201:
            self.location = answer.headers["location"]
            await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer

    async def __aenter__(self) -> Publisher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peer.close()
