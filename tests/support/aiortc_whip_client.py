"""A WHIP client on aiortc, in a process of its own that knows nothing of the code under test.

Usage: python aiortc_whip_client.py URL TOKEN

Publishes pictures of a moving square, 320x192 at 25 a second, until its stdin ends; then it ends the session. Prints
the session's address once it publishes.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urljoin

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import VideoFrame


class MovingSquare(VideoStreamTrack):
    """A white square on grey."""

    count = 0

    async def recv(self) -> VideoFrame:
        """The next picture, when it is due."""
        pts, time_base = await self.next_timestamp()
        image = np.full((192, 320, 3), 100, np.uint8)
        left = 4 * (self.count % 60)
        image[60:120, left : left + 60] = 255
        self.count += 1
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


async def publish(url: str, token: str) -> None:
    """Publish until stdin ends."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(MovingSquare(), direction="sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        headers = {"Content-Type": "application/sdp"}
        answer = await http.post(url, content=peer.localDescription.sdp, headers=headers)
        answer.raise_for_status()
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        location = urljoin(url, answer.headers["location"])
        print(location, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        (await http.delete(location)).raise_for_status()
    await peer.close()


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], sys.argv[2]))
