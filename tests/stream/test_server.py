"""What the server says over HTTP and the WebSocket, and how it ends."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stream.app import Service
from stream.errors import ConfigError
from stream.http_server import run_server
from stream.server import VIEWER, ServerOptions, create_app
from stream.track_socket import same_origin
from stream.types import TrackedFrame
from stream.wire import WireFrame, decode
from tests.stream.viewer_frames import make_picture, make_service, serving, until


@pytest.fixture
def service() -> Service:
    return make_service("door", "yard")


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def published(service: Service, seq: int = 5, camera: str = "door") -> TrackedFrame:
    return service.hub(camera).publish(make_picture(seq, camera))


async def test_the_page_and_all_its_parts_are_served_without_a_third_party(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert {"/static/app.js", "/static/style.css"} <= set(parts)
    for part in parts:
        assert (await client.get(part)).status_code == 200, part
    for file in VIEWER.iterdir():
        addresses = re.findall(r"\w+://[\w.]+", file.read_text())
        assert set(addresses) <= {"http://www.w3.org"}, f"{file.name} names another host"
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page.text), "against the policy"


async def test_every_answer_carries_a_strict_policy(client: httpx.AsyncClient) -> None:
    for path in ("/", "/api/cameras", "/static/app.js", "/nowhere"):
        policy = (await client.get(path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_a_name_that_is_not_the_server_s_own_is_refused(service: Service) -> None:
    """A site that makes its own name point at this machine reads nothing through a visitor's browser."""
    app = create_app(service, ServerOptions(allowed_hosts=("localhost", "127.0.0.1", "[::1]")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        for host, status in (
            ("localhost:8080", 200),
            ("127.0.0.1", 200),
            ("[::1]:8080", 200),
            ("evil.example", 400),
            ("localhost.evil.example:8080", 400),
        ):
            answer = await client.get("http://127.0.0.1/api/cameras", headers={"host": host})
            assert answer.status_code == status, host


async def test_every_module_that_is_imported_is_there(client: httpx.AsyncClient) -> None:
    for module in VIEWER.glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', module.read_text()):
            assert (VIEWER / name).is_file(), f"{module.name} imports {name}"


async def test_health_is_about_the_service_not_the_cameras(
    client: httpx.AsyncClient, service: Service
) -> None:
    answer = await client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "cameras": {"door": False, "yard": False}}


async def test_metrics_are_the_service_s_registry(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'syncvis_frames_received_total{camera="door"} 0.0' in answer.text


async def test_cameras_are_listed_in_the_order_of_the_config(
    client: httpx.AsyncClient, service: Service
) -> None:
    published(service)
    first, second = (await client.get("/api/cameras")).json()
    assert [first["name"], second["name"]] == ["door", "yard"]
    assert first["last_frame_age_s"] >= 0
    assert second["last_frame_age_s"] is None
    assert (await client.get("/api/cameras/yard")).json()["name"] == "yard"


async def test_the_newest_tracks_are_the_wire_form(client: httpx.AsyncClient, service: Service) -> None:
    frame = published(service)
    answer = await client.get("/api/cameras/door/tracks")
    assert WireFrame.model_validate(answer.json()) == WireFrame.of(frame)


async def test_a_snapshot_is_a_jpeg_with_or_without_the_overlay(
    client: httpx.AsyncClient, service: Service
) -> None:
    frame = published(service)
    plain = await client.get("/api/cameras/door/snapshot.jpg?overlay=false")
    drawn = await client.get("/api/cameras/door/snapshot.jpg")
    assert plain.headers["content-type"] == drawn.headers["content-type"] == "image/jpeg"
    assert drawn.headers["x-frame-seq"] == "5"
    pictures = [
        np.asarray(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR_RGB)).astype(int)
        for answer in (plain, drawn)
    ]
    assert np.abs(pictures[0] - frame.image).mean() < 3
    assert np.abs(pictures[1] - frame.image).mean() > 5


@pytest.mark.parametrize("camera", ["nobody", "..%2Fdoor", "door%2F", "%00", "d" * 300])
@pytest.mark.parametrize("path", ["", "/tracks", "/zones", "/snapshot.jpg"])
async def test_an_unknown_camera_is_not_found(client: httpx.AsyncClient, camera: str, path: str) -> None:
    assert (await client.get(f"/api/cameras/{camera}{path}")).status_code == 404


@pytest.mark.parametrize("path", ["tracks", "snapshot.jpg"])
async def test_a_camera_without_a_picture_says_when_to_ask_again(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/api/cameras/yard/{path}")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_openapi_describes_the_wire_form_and_every_route(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    properties = schema["components"]["schemas"]["WireFrame"]["properties"]
    assert properties["captured_at_s"]["description"].startswith("Unix time")
    assert set(schema["paths"]) == {
        *("/healthz", "/metrics", "/api/cameras", "/api/cameras/{camera}", "/api/cameras/{camera}/tracks"),
        *("/api/tracks", "/api/events", "/api/cameras/{camera}/events", "/api/schema/{name}.json"),
        *("/api/cameras/{camera}/zones", "/api/cameras/{camera}/config", "/api/model"),
        *(
            "/api/cameras/{camera}/zones",
            "/api/cameras/{camera}/snapshot.jpg",
            "/whep/{camera}",
            "/whep/{camera}/sessions/{session}",
            "/whip/{camera}",
            "/whip/{camera}/sessions/{session}",
            "/session",
        ),
    }
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert all(operation.get("summary") for operation in operations)


async def test_the_socket_streams_the_newest_frame_and_then_each(service: Service) -> None:
    published(service, 1)
    async with serving(create_app(service)) as (_, address):
        async with connect(f"ws{address[4:]}/ws/cameras/door/tracks") as stream:
            assert decode(await stream.recv()).seq == 1
            for seq in (2, 3):
                frame = published(service, seq)
                assert decode(await stream.recv()) == WireFrame.of(frame)
        await until(lambda: service.hub("door").subscribers == 0)


async def test_the_socket_refuses_unknown_cameras_and_other_origins(service: Service) -> None:
    async with serving(create_app(service)) as (_, address):
        url = f"ws{address[4:]}/ws/cameras"
        with pytest.raises(InvalidStatus) as missing:
            await connect(f"{url}/nobody/tracks")
        with pytest.raises(InvalidStatus) as foreign:
            await connect(f"{url}/door/tracks", origin="http://elsewhere.example")  # type: ignore[arg-type]
        async with connect(f"{url}/door/tracks", origin=address):  # type: ignore[arg-type]
            pass
    assert missing.value.response.status_code == 404
    assert foreign.value.response.status_code == 403


def test_only_the_server_s_own_page_is_of_the_same_origin() -> None:
    assert same_origin(None, "host:1")
    assert same_origin("https://host:1", "host:1")
    assert not same_origin("http://host:2", "host:1")
    assert not same_origin("null", "host:1")


async def test_the_server_ends_while_sockets_are_open(service: Service) -> None:
    published(service)
    async with serving(create_app(service)) as (server, address):
        stream = await connect(f"ws{address[4:]}/ws/cameras/door/tracks")
        await stream.recv()
        server.should_exit = True
        with pytest.raises(ConnectionClosed):
            await stream.recv()
    assert service.hub("door").subscribers == 0


async def test_the_socket_ends_when_the_camera_s_hub_closes(service: Service) -> None:
    async with (
        serving(create_app(service)) as (_, address),
        connect(f"ws{address[4:]}/ws/cameras/door/tracks") as stream,
    ):
        await until(lambda: service.hub("door").subscribers == 1)
        service.hub("door").close()
        with pytest.raises(ConnectionClosed) as end:
            await stream.recv()
    assert end.value.rcvd is not None
    assert end.value.rcvd.code == 1001


async def test_an_address_in_use_is_one_clear_line(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await run_server(create_app(service), port=port)


async def test_health_says_so_when_the_server_is_about_to_end(service: Service) -> None:
    app = create_app(service)
    app.state.closing = True
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/healthz")
    assert answer.status_code == 503
    assert json.loads(answer.text)["status"] == "closing"
