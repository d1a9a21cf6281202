"""Watching with masks as data over WHEP: who asks for it gets the bare picture, and beside it what is on it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
from aiortc import RTCSessionDescription
from aiortc.rtp import RtpPacket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.server import ServerOptions, create_app
from stream.stamp import read_stamp
from stream.webrtc.mask_outlet import LABEL
from stream.webrtc.whep import MASKS_EXTENSION
from stream.wire import WireFrame, decode
from tests.stream.test_webrtc import SDP, Viewer
from tests.stream.viewer_frames import make_picture, make_service, publishing, serving, until

TOKEN = "0123456789abcdef-of-the-test"


@dataclass
class Data:
    """What a viewer was sent beside its pictures, and the RTP timestamps of these."""

    frames: list[WireFrame] = field(default_factory=list)
    timestamps: set[int] = field(default_factory=set)

    @property
    def agreeing(self) -> int:
        """How many frames are of a picture that came."""
        return sum(frame.rtp_timestamp in self.timestamps for frame in self.frames)


class DataViewer(Viewer):
    """A WHEP client that draws masks itself."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__(http)
        self.data = Data()
        channel = self.peer.createDataChannel(LABEL, ordered=False, maxPacketLifeTime=300)
        channel.on("message", lambda text: self.data.frames.append(decode(text)))
        take = self.receiver._handle_rtp_packet

        async def note(packet: RtpPacket, arrival_time_ms: int) -> None:
            self.data.timestamps.add(packet.timestamp)
            await take(packet, arrival_time_ms)

        self.receiver._handle_rtp_packet = note

    async def watch(self, masks: str = "data") -> httpx.Response:
        answer = await self.http.post(f"/whep/cam?masks={masks}", content=await self.offer(), headers=SDP)
        if answer.status_code == 201:
            self.location = answer.headers["location"]
            await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer


@asynccontextmanager
async def server(options: ServerOptions | None = None) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A server on loopback with a synthetic camera that publishes, and a client of it."""
    service = make_service()
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        publishing(service),
        serving(create_app(service, options)) as (_, address),
        httpx.AsyncClient(base_url=address, headers=token) as http,
    ):
        await until(lambda: service.hub("cam").latest is not None)
        yield http, address


def extension(answer: httpx.Response) -> str:
    """Where the answer's links say that the extension is."""
    (link,) = re.findall(rf'<([^>]+)>; rel="{MASKS_EXTENSION}"', ", ".join(answer.headers.get_list("link")))
    return str(link)


async def test_the_picture_is_bare_and_its_masks_come_beside_it_with_its_rtp_time() -> None:
    async with server(ServerOptions(frame_stamp=True)) as (http, _), DataViewer(http) as viewer:
        assert (await viewer.watch()).status_code == 201
        for _ in range(8):
            picture = await viewer.picture()
        seq = read_stamp(picture)
        assert seq is not None
        bare = make_picture(seq).image[: 3 * picture.shape[0] // 4]
        assert np.abs(bare.astype(int) - picture[: bare.shape[0]]).mean() < 3, "nothing is drawn on it"
        await until(lambda: viewer.data.agreeing >= 8)
        for frame in viewer.data.frames:
            expected = make_picture(frame.seq).tracks
            assert [track.to_track().mask for track in frame.tracks] == [track.mask for track in expected]


async def test_the_session_s_socket_says_the_same_and_ends_with_it() -> None:
    options = ServerOptions(tokens=(TOKEN,))
    async with server(options) as (http, address), DataViewer(http) as viewer:
        answer = await viewer.watch()
        url = f"ws{address[4:]}{extension(answer)}"
        assert url.endswith(f"{viewer.location}/masks")
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 401
        texts = []
        async with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
            async for text in socket:
                texts.append(decode(text))
                if len(texts) == 5:
                    await http.delete(viewer.location)
        await until(lambda: {frame.rtp_timestamp for frame in texts} & viewer.data.timestamps)
        with pytest.raises(InvalidStatus) as gone:
            await connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"})
        assert gone.value.response.status_code == 404


async def test_players_that_know_nothing_of_it_get_the_overlay_and_are_told_where_it_is() -> None:
    async with server() as (http, _), DataViewer(http) as viewer:
        answer = await viewer.watch("overlay")
        assert extension(answer) == "/whep/cam?masks=data"
        assert (await http.post("/whep/cam?masks=other", content="", headers=SDP)).status_code == 422
        await viewer.picture()
        assert viewer.data.frames == []


async def test_both_ways_are_counted_as_viewers() -> None:
    async with server() as (http, _), DataViewer(http) as first, Viewer(http) as second:
        await first.watch()
        await second.watch()
        await first.picture()
        await second.picture()
        assert (await http.get("/api/cameras/cam")).json()["viewers"] == 2
