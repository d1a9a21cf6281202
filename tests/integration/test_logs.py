"""What a real `serve` writes: each line a fact in JSON, about its camera and session, with repeats counted."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.tokens import hashed
from tests.integration.processes import ServeProcess, write_config
from tests.integration.test_shutdown import watch_whep
from tests.stream.viewer_frames import until

pytestmark = pytest.mark.integration

TOKEN, ADMIN = "0123456789abcdef-view", "0123456789abcdef-admin"
MINE, AS_ADMIN = ({"Authorization": f"Bearer {token}"} for token in (TOKEN, ADMIN))


def records(server: ServeProcess) -> list[dict[str, Any]]:
    """All that it has logged; each line must be whole JSON."""
    return [json.loads(line) for line in server.errors().splitlines(keepends=True) if line.endswith("\n")]


def said(server: ServeProcess, words: str) -> list[dict[str, Any]]:
    return [record for record in records(server) if words in record["message"]]


async def test_a_life_of_serve_as_json(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        gone = f"rtsp://me:hunter2@127.0.0.1:{taken.getsockname()[1]}/x"
        cameras = {"yard": "synthetic:3?fps=5&size=160x96", "gone": gone}
        section = {"port": 0, "tokens": [hashed(TOKEN)], "admin_tokens": [ADMIN]}
        with ServeProcess(write_config(tmp_path, cameras, server=section), "--log-format", "json") as server:
            async with httpx.AsyncClient(base_url=server.address, headers=MINE) as http:
                url = f"ws{server.address[4:]}/api/tracks"
                async with connect(url, additional_headers=MINE) as socket_of_tracks:
                    await socket_of_tracks.recv()
                peer = await watch_whep(http, "yard")
                await until(lambda: said(server, "of camera yard began"))
                await peer.close()
                with pytest.raises(InvalidStatus):
                    async with connect(url):
                        pass
                added = {"name": "more", "url": "synthetic:1?fps=5&size=160x96"}
                assert (await http.post("/api/cameras", json=added, headers=AS_ADMIN)).status_code == 201
                # The camera that is gone is tried more often than is told.
                await until(lambda: len(said(server, "camera gone: ")) >= 2)
            assert (await asyncio.to_thread(server.end))[0] == 0
        found = records(server)
    keys = {"time", "level", "logger", "message", "camera", "session", "trace"}
    assert all(
        set(record) <= keys and set(record) >= keys - {"camera", "session", "trace"} for record in found
    )
    assert {record["level"] for record in found} <= {"info", "warning"}, "nothing here is an error"
    (began,), (ended,) = said(server, "of camera yard began"), said(server, "of camera yard left")
    assert began["camera"] == ended["camera"] == "yard"
    assert began["session"] == ended["session"]
    assert len(began["session"]) == 6
    (more,) = said(server, "camera more was added")
    assert more["camera"] == "more"
    assert {record["camera"] for record in said(server, "camera gone: ")} == {"gone"}
    assert said(server, "all is closed")
    for secret in ("hunter2", TOKEN, ADMIN):
        assert secret not in server.errors()
