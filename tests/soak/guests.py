"""Guests of a server, all in one process that knows nothing of the code under test, so that it can be killed.

Usage: python -m tests.soak.guests < PLAN

PLAN is one line of JSON: {"address", "token", "cameras": [names], "webrtc", "pictures", "tracks", "events": how many}.
Prints "here" when each guest has been sent two pictures, messages or comments. At the next line on stdin they leave:
every third without a word (its sockets are aborted), the others as the protocol has it; and prints "gone". How long a
guest may wait for what it came for is the caller's business.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urljoin

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.rtp import RtpPacket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

WANTED = 2
AT_ONCE = 2
"""Guests that are on their way in."""
CODECS = ("H264", "VP8")


class Guest:
    """One of them: `number` decides how it watches, and whether it leaves `rudely`."""

    def __init__(self, number: int, camera: str, http: httpx.AsyncClient) -> None:
        self.number, self.camera, self.http = number, camera, http
        self.rudely = number % 3 == 2
        self._seen = 0
        self.served = asyncio.Event()

    def saw(self) -> None:
        """Something came."""
        self._seen += 1
        if self._seen >= WANTED:
            self.served.set()


@asynccontextmanager
async def by_webrtc(guest: Guest) -> AsyncIterator[None]:
    """Watch by WHEP, with the overlay or with masks as data; pictures are counted and not decoded."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = peer.addTransceiver("video", direction="recvonly")
    wanted = f"video/{CODECS[guest.number % 2]}"
    offered = RTCRtpReceiver.getCapabilities("video").codecs
    transceiver.setCodecPreferences([each for each in offered if each.mimeType in (wanted, "video/rtx")])

    async def count(packet: RtpPacket, arrival_time_ms: int) -> None:
        if packet.marker:
            guest.saw()

    transceiver.receiver._handle_rtp_packet = count
    as_data = guest.number % 4 == 0  # asked for in H.264
    if as_data:
        peer.createDataChannel("masks")
    await peer.setLocalDescription(await peer.createOffer())
    answer = await guest.http.post(
        f"/whep/{guest.camera}" + ("?masks=data" if as_data else ""),
        content=peer.localDescription.sdp,
        headers={"Content-Type": "application/sdp"},
    )
    answer.raise_for_status()
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    yield
    if not guest.rudely:
        (await guest.http.delete(urljoin(str(answer.url), answer.headers["location"]))).raise_for_status()
    await peer.close()


@asynccontextmanager
async def by_websocket(what: str, guest: Guest) -> AsyncIterator[None]:
    """Read "pictures" or "tracks"."""
    url = f"{guest.http.base_url}/api/cameras/{guest.camera}/{what}".replace("http", "ws", 1)
    headers = {"Authorization": guest.http.headers["Authorization"]}
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        reading = asyncio.create_task(_count(socket, guest))
        yield
        if guest.rudely:
            socket.transport.abort()
        else:
            await socket.close()
        await asyncio.wait([reading])


async def _count(messages: Any, guest: Guest) -> None:
    with suppress(ConnectionClosed):  # by this side
        async for _ in messages:
            guest.saw()


@asynccontextmanager
async def by_events(guest: Guest) -> AsyncIterator[None]:
    """Read tracks as Server-Sent Events, over a connection of its own, which is how one leaves."""
    headers = {"Accept": "text/event-stream"}
    async with guest.http.stream("GET", f"/api/cameras/{guest.camera}/tracks", headers=headers) as answer:
        answer.raise_for_status()
        reading = asyncio.create_task(_count(answer.aiter_lines(), guest))
        yield
        reading.cancel()
        await asyncio.wait([reading])


Way = Callable[[Guest], Any]
WAYS: dict[str, Way] = {
    "webrtc": by_webrtc,
    "pictures": partial(by_websocket, "pictures"),
    "tracks": partial(by_websocket, "tracks"),
    "events": by_events,
}


async def visit(guest: Guest, way: Way, doors: asyncio.Semaphore, stay: Callable[[], Awaitable[Any]]) -> None:
    """Come, be served, stay, go."""
    async with doors:
        context = way(guest)
        await context.__aenter__()
        await guest.served.wait()
    await stay()
    await context.__aexit__(None, None, None)


async def main() -> None:
    """All of them."""
    plan = json.loads(sys.stdin.readline())
    doors, leave = asyncio.Semaphore(AT_ONCE), asyncio.Event()
    cameras, number, waiting = plan["cameras"], 0, []
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {plan['token']}"}
    async with (
        httpx.AsyncClient(base_url=plan["address"], headers=headers, limits=limits, timeout=None) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for name, way in WAYS.items():
            for _ in range(plan[name]):
                guest = Guest(number, cameras[number // 2 % len(cameras)], http)
                tasks.create_task(visit(guest, way, doors, leave.wait))
                waiting.append(guest.served.wait())
                number += 1
        await asyncio.gather(*waiting)
        print("here", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        leave.set()
    print("gone", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
