"""Cameras are added, changed and removed while the server runs: by whom, with which answers, and who is told."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from stream.camera_hosts import CameraHosts
from stream.errors import ConfigError
from stream.events import decode_event
from stream.server import ServerOptions
from stream.wire import decode
from tests.stream.running import (
    ADMIN,
    PUBLISH,
    SYNTHETIC,
    VIEW,
    Running,
    config_of,
    running,
)
from tests.stream.test_webrtc import Viewer
from tests.stream.viewer_frames import until

OTHER = "synthetic:8?size=160x96&fps=25"
SECRET = "hunter2-and-more"
FAR = f"rtsp://me:{SECRET}@192.0.2.9/stream"


async def test_add_change_and_remove() -> None:
    async with running(config_of("door")) as server:
        added = await server.add("yard")
        assert added.status_code == 201
        assert added.headers["location"] == "/api/cameras/yard"
        assert added.json()["name"] == "yard"
        await until(lambda: server.service.cameras["yard"].hub.latest is not None)
        assert (await server.change("yard", min_score=0.5)).status_code == 200
        assert (await server.http.get("/api/cameras/yard/config")).json()["min_score"] == 0.5
        assert server.names == ["door", "yard"]
        assert (await server.change("door", OTHER)).status_code == 200
        assert server.names == ["door", "yard"], "it keeps its place"
        assert (await server.remove("yard")).status_code == 204
        for path in ("", "/config", "/zones", "/tracks", "/snapshot.jpg"):
            assert (await server.http.get(f"/api/cameras/yard{path}")).status_code == 404, path
        assert [each["name"] for each in (await server.http.get("/api/cameras")).json()] == ["door"]


async def test_who_may() -> None:
    options = ServerOptions(tokens=(VIEW,), publish_tokens=(PUBLISH,), admin_tokens=(ADMIN,))
    async with running(config_of("door"), options=options) as server:
        body = {"name": "yard", "url": SYNTHETIC}
        cookie = (await server.http.post("/session", headers=bearer(VIEW))).cookies
        calls = [
            ("POST", "", body),
            ("PUT", "/door", body),
            ("DELETE", "/door", None),
            ("GET", "/door/config", None),
        ]
        for method, path, content in calls:
            for headers, expected in (
                ({}, 401),
                (bearer("x" * 20), 401),
                (bearer(VIEW), 403),
                (bearer(PUBLISH), 403),
            ):
                async with httpx.AsyncClient(base_url=server.address, cookies=cookie) as http:
                    answer = await http.request(method, f"/api/cameras{path}", json=content, headers=headers)
                assert answer.status_code == expected, (method, path, headers)
                assert "Bearer" in answer.headers["www-authenticate"]
        assert server.names == ["door"]
    async with running(config_of("door"), options=ServerOptions()) as server:
        assert (await server.remove("door")).status_code == 401, "without admin_tokens nobody may"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"name": "x"}, "url: this key is required"),
    "no name": ({"url": SYNTHETIC}, "name: "),
    "a name": ({"name": "a/b", "url": SYNTHETIC}, "name: a name is 1 to 63"),
    "a key": ({"name": "x", "url": FAR, "lables": []}, "lables: unknown key"),
    "a value": ({"name": "x", "url": FAR, "read_timeout_s": "no"}, "read_timeout_s: "),
    "a file": ({"name": "x", "url": "/etc/passwd"}, "url: only rtsp://"),
    "a device": ({"name": "x", "url": "/dev/video0"}, "url: only rtsp://"),
    "file://": ({"name": "x", "url": "file:///etc/passwd"}, "url: only rtsp://"),
    "http": ({"name": "x", "url": f"http://me:{SECRET}@192.0.2.9/"}, "cannot be opened"),
    "two hosts": ({"name": "x", "url": f"rtsp://a:{SECRET}@127.0.0.1#@192.0.2.9/"}, "is not plain"),
    "here": ({"name": "x", "url": f"rtsp://a:{SECRET}@127.0.0.1/"}, "host '127.0.0.1' is not allowed"),
    "a class": (
        {"name": "x", "url": SYNTHETIC, "labels": ["unicorn"]},
        "labels: the model knows no 'unicorn'",
    ),
    "a polygon": (
        {"name": "x", "url": SYNTHETIC, "zones": {"z": {"polygon": [[0, 0]]}}},
        "zones.z.polygon: ",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_named_and_nothing_is_left(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body, expected = WRONG[what]
    async with running(config_of("door")) as server:
        answer = await server.http.post("/api/cameras", json=body)
        assert answer.status_code == 422
        assert expected in answer.json()["detail"]
        metrics = (await server.http.get("/metrics")).text
        assert server.names == ["door"]
    assert 'camera="x"' not in metrics
    assert SECRET not in answer.text + caplog.text + metrics


async def test_other_refusals() -> None:
    async with running(config_of("door", max_cameras=2)) as server:
        assert (await server.add("door")).status_code == 409
        assert (await server.change("nobody")).status_code == 404
        assert (await server.remove("nobody")).status_code == 404
        assert (await server.add("yard")).status_code == 201
        full = await server.add("more")
        assert (full.status_code, "server.max_cameras" in full.json()["detail"]) == (503, True)
        as_json = {"Content-Type": "application/json"}
        for content, expected in ((b"[]", 400), (b"{", 400), (b"[" * 100_000, 400), (b" " * 300_000, 413)):
            answer = await server.http.post("/api/cameras", content=content, headers=as_json)
            assert answer.status_code == expected
        assert (await server.http.post("/api/cameras", content=b"{}")).status_code == 415


async def test_a_password_never_comes_back_and_stays_when_it_is_not_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(config_of("door")) as server:
        answers = [await server.add("far", FAR)]
        answers.append(config := await server.http.get("/api/cameras/far/config"))
        shown = config.json()
        answers.append(await server.http.put("/api/cameras/far", json=shown | {"min_score": 0.5}))
        answers.append(await server.http.get("/metrics"))
        assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
        assert server.roster.settings("far").url == FAR
        assert server.roster.settings("far").min_score == 0.5
    assert shown["url"] == "rtsp://me:***@192.0.2.9/stream"
    assert SECRET not in "".join(answer.text for answer in answers) + caplog.text


async def test_what_can_be_taken_over_is_not_noticed_by_those_who_watch() -> None:
    async with running(config_of("cam")) as server, connect(ws(server, "/api/cameras/cam/tracks")) as frames:
        pipeline = server.service.cameras["cam"]
        assert decode(await frames.recv()).tracks
        assert (await server.change("cam", labels=["dog"], min_score=1.0, priority=9)).status_code == 200
        while decode(await frames.recv()).tracks:
            pass
        assert server.service.cameras["cam"] is pipeline
        assert pipeline.priority == 9


@pytest.mark.parametrize("how", ["remove", "another url", "blur"])
async def test_who_watches_a_camera_that_goes_is_told(how: str) -> None:
    async with (
        running(config_of("cam", "other")) as server,
        connect(ws(server, "/api/cameras/cam/tracks")) as frames,
        connect(ws(server, "/api/cameras/cam/events")) as events,
        connect(ws(server, "/api/cameras/cam/pictures")) as pictures,
        connect(ws(server, "/api/cameras/other/tracks")) as others,
        connect(ws(server, "/api/tracks")) as everything,
        connect(ws(server, "/api/events?event=gone")) as ends,
        Viewer(server.http) as viewer,
    ):
        sse = asyncio.create_task(read_sse(server, "/api/cameras/cam/tracks"))
        await until(lambda: server.service.cameras["cam"].hub.latest is not None)
        assert (await viewer.watch("H264")).status_code == 201
        await viewer.picture()
        if how == "remove":
            answer = await server.remove("cam")
        else:
            change = {"url": OTHER} if how == "another url" else {"blur": ["dog"]}
            answer = await server.change("cam", **change)
        assert answer.is_success
        for socket in (frames, events, pictures):
            assert await close_code(socket) == 1001
        assert await sse > 0
        await until(lambda: len(server.app.state.sessions) == 0)
        await others.recv()
        while decode(await everything.recv()).camera != "other":
            pass
        while decode_event(await ends.recv()).camera != "cam":
            pass


async def close_code(socket: ClientConnection) -> int | None:
    """With what a WebSocket was closed, after all that it said before."""
    async for _ in socket:
        pass
    return socket.close_code


async def read_sse(server: Running, path: str) -> int:
    """How many frames came until the stream ended by itself."""
    count = 0
    async with server.http.stream(
        "GET", path, headers={"Accept": "text/event-stream"}, timeout=None
    ) as answer:
        async for line in answer.aiter_lines():
            count += line.startswith("data:")
    return count


def ws(server: Running, path: str) -> str:
    return f"ws{server.address[4:]}{path}"


async def test_who_reads_all_cameras_gets_those_that_come_later() -> None:
    async with running(config_of("door")) as server, connect(ws(server, "/api/tracks")) as everything:
        for _ in range(3):
            await server.add("later")
            while decode(await everything.recv()).camera != "later":
                pass
            await server.remove("later")
        while decode(await everything.recv()).camera != "door":
            pass


async def test_what_was_changed_is_so_after_a_restart(tmp_path: Path) -> None:
    config = config_of("door", "gone")
    async with running(config, state=tmp_path) as server:
        assert (await server.add("far", FAR, labels=["dog"])).status_code == 201
        assert (await server.change("door", OTHER)).status_code == 200
        assert (await server.remove("gone")).status_code == 204
        await server.add("passing")
        await server.remove("passing")
        with pytest.raises(ConfigError, match="another process"):
            async with running(config_of("elsewhere"), state=tmp_path):
                pass
    file = tmp_path / "cameras.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["cameras"].keys() == {"far", "door", "gone"}
    async with running(config, state=tmp_path) as server:
        assert server.names == ["door", "far"]
        assert server.roster.settings("door").url == OTHER
        assert (server.roster.settings("far").url, server.roster.settings("far").labels) == (FAR, ("dog",))
        assert (await server.add("gone")).status_code == 201


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "syncvis-online-cameras/1", "cameras": {"a": {}}}']
)
async def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "cameras.json").write_text(content)
    with pytest.raises(ConfigError, match=r"cameras\.json: "):
        async with running(config_of("door"), state=tmp_path):
            pass
    assert (tmp_path / "cameras.json").read_text() == content


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with running(config_of("door"), state=state) as server:
        (state / "cameras.json").mkdir()
        assert (await server.add("yard")).status_code == 507
        assert (await server.remove("door")).status_code == 507
        assert server.names == ["door"]


async def test_another_config_file_changes_what_was_not_changed_by_hand(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(config_of("stays", "goes", "ours")) as server:
        kept = server.service.cameras["stays"]
        await server.change("ours", OTHER)
        new = config_of("stays", "comes", "ours")
        ours = new.cameras["ours"].model_copy(update={"min_score": 0.9})
        await server.roster.reload(new.model_copy(update={"cameras": {**new.cameras, "ours": ours}}))
        assert set(server.names) == {"stays", "comes", "ours"}
        assert server.service.cameras["stays"] is kept
        assert server.roster.settings("ours").url == OTHER
    assert "camera ours: what was changed while it ran stays" in caplog.text


async def test_a_host_is_asked_for_again_before_each_connection() -> None:
    """A name that comes to mean this machine is not connected to."""
    answers = [["192.0.2.9", "127.0.0.1"], ["192.0.2.9"], ["127.0.0.1"]]

    async def look_up(host: str) -> list[str]:
        assert host == "cam.example.org"
        return answers.pop(0)

    async with running(config_of("door"), hosts=CameraHosts(None, look_up)) as server:
        assert (await server.add("far", "rtsp://cam.example.org/x")).status_code == 422
        assert (await server.add("far", "rtsp://cam.example.org/x")).status_code == 201
        await until(lambda: server.service.cameras["far"].status().last_error is not None)
        report = (await server.http.get("/api/cameras/far")).json()
    assert report["last_error"] == "camera host 'cam.example.org' is not allowed: see server.camera_hosts"
    assert not answers
