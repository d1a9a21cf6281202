"""A real RTSP camera that comes, is changed and goes while the server runs: its reader's process ends with it."""

from __future__ import annotations

import psutil
import pytest

from tests.stream.running import Running, config_of, running
from tests.stream.viewer_frames import until
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration


def readers() -> int:
    """How many processes of ours read cameras, or wait for one."""
    return len(psutil.Process().children(recursive=True))


@pytest.mark.timeout(120)
async def test_a_camera_is_added_connected_anew_and_removed(rtsp_server: RtspServer) -> None:
    url = rtsp_server.serve_clip(index_frames(50))
    async with running(config_of("door", camera_hosts=["127.0.0.1"])) as server:
        counts = []
        for _ in range(3):
            await life_of_a_camera(server, url)
            counts.append(readers())
        # The first one has started what readers are forked from.
        await until(lambda: readers() <= counts[0])
    assert server.service.registry.get_sample_value("syncvis_camera_up", {"camera": "street"}) is None


async def life_of_a_camera(server: Running, url: str) -> None:
    """Added, changed without another connection and with one, removed."""
    cameras = server.service.cameras
    assert (await server.add("street", url)).status_code == 201
    await until(lambda: cameras["street"].hub.latest is not None)
    first, reading = cameras["street"], readers()
    assert (await server.change("street", url, labels=["dog"])).status_code == 200
    assert cameras["street"] is first
    assert first.status().up, "it goes on with the connection that it has"
    assert (await server.change("street", url, transport="udp")).status_code == 200
    await until(lambda: cameras["street"].hub.latest is not None)
    assert not first.status().up
    assert (await server.remove("street")).status_code == 204
    await until(lambda: readers() < reading)
