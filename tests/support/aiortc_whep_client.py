"""A WHEP client on aiortc, in a process of its own that knows nothing of the code under test.

Usage: python aiortc_whep_client.py URL PICTURES

Prints what `gst_whep_client.py` does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import urljoin

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


async def watch(url: str, wanted: int) -> dict[str, object]:
    """Watch so many pictures, then end the session."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    async with httpx.AsyncClient() as http:
        headers = {"Content-Type": "application/sdp"}
        answer = await http.post(url, content=peer.localDescription.sdp, headers=headers)
        answer.raise_for_status()
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        for _ in range(wanted):
            picture = await receiver.track.recv()
        location = urljoin(url, answer.headers["location"])
        (await http.delete(location)).raise_for_status()
    await peer.close()
    return {"pictures": wanted, "width": picture.width, "height": picture.height, "location": location}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(sys.argv[1], int(sys.argv[2])))), flush=True)
