"""Tracks and events for programs: WebSockets and Server-Sent Events say the same, as asked and as the schemas say."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stream.app import Service
from stream.events import TrackEvent
from stream.programs import schema_of
from stream.server import create_app
from stream.types import TrackedFrame
from stream.wire import WireFrame, decode
from tests.stream.viewer_frames import make_picture, make_service, serving, until

SSE = {"Accept": "text/event-stream"}
LARGE_FLAGS = ("x" * 200_000,)


@pytest.fixture
def service() -> Service:
    return make_service("door", "yard")


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    async with serving(create_app(service)) as (_, address):
        yield address


def published(service: Service, seq: int, camera: str = "door", **changes: Any) -> TrackedFrame:
    """A frame with a dog (0.75, id 1) and a car (0.25, id 2)."""
    frame = make_picture(seq, camera)
    dog, car = frame.tracks
    changes.setdefault("tracks", (dog, replace(car, label="car", score=0.25)))
    return service.hub(camera).publish(replace(frame, **changes))


def ws(address: str, path: str) -> connect:
    return connect(f"ws{address[4:]}{path}")


@asynccontextmanager
async def sse(address: str, path: str, **headers: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The events of a stream, each as its id and its data."""

    async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
        number = ""
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                number = value
            elif name == "data":
                yield number, json.loads(value)

    async with (
        httpx.AsyncClient(timeout=None) as http,  # pytest's limit is the bound
        http.stream("GET", address + path, headers=SSE | headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


async def test_all_cameras_come_by_one_socket_and_one_stream_with_the_same_texts(
    service: Service, address: str
) -> None:
    async with ws(address, "/api/tracks") as stream, sse(address, "/api/tracks") as events:
        await until(lambda: service.hub("yard").subscribers == 2)
        for seq, camera in enumerate(("door", "yard", "yard", "door")):
            frame = published(service, seq, camera)
            text = await stream.recv()
            assert decode(text) == WireFrame.of(frame)
            assert (await anext(events))[1] == json.loads(text)


async def test_a_slow_reader_of_all_cameras_gets_the_newest_of_each(service: Service, address: str) -> None:
    for seq in range(5):
        published(service, seq, "door")
    published(service, 9, "yard")
    async with ws(address, "/api/tracks") as stream:
        got = {decode(await stream.recv()) for _ in range(2)}
    assert {(frame.camera, frame.seq) for frame in got} == {("door", 4), ("yard", 9)}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [1, 2]),
        ("?label=dog", [1]),
        ("?label=cat", []),
        ("?label=dog&label=car", [1, 2]),
        ("?min_score=0.5", [1]),
        ("?min_score=0.25", [1, 2]),
        ("?label=car&min_score=0.5", []),
    ],
)
async def test_filters_are_the_same_everywhere(
    service: Service, address: str, query: str, wanted: list[int]
) -> None:
    published(service, 1, "yard")
    published(service, 1)
    async with httpx.AsyncClient() as http:
        newest = (await http.get(f"{address}/api/cameras/door/tracks{query}")).json()
        (door,) = (await http.get(f"{address}/api/tracks{query or '?'}&camera=door")).json()
        events = (await http.get(f"{address}/api/cameras/door/events{query}")).json()
    async with (
        ws(address, f"/api/cameras/door/tracks{query}") as stream,
        ws(address, f"/ws/cameras/door/tracks{query}") as first,
        ws(address, f"/api/tracks{query or '?'}&camera=door") as among,
        sse(address, f"/api/cameras/door/tracks{query}") as lines,
    ):
        seen = [newest, door, json.loads(await stream.recv()), json.loads(await first.recv())]
        seen += [json.loads(await among.recv()), (await anext(lines))[1]]
    for frame in seen:
        assert frame == newest
        assert [track["id"] for track in frame["tracks"]] == wanted
    assert [(event["event"], event["id"]) for event in events] == [("born", each) for each in wanted]


@pytest.mark.parametrize("path", ["/api/tracks?camera=nobody", "/api/cameras/nobody/events"])
async def test_unknown_cameras_are_not_found(address: str, path: str) -> None:
    async with httpx.AsyncClient() as http:
        assert (await http.get(address + path)).status_code == 404
        assert (await http.get(address + path, headers=SSE)).status_code == 404
    with pytest.raises(InvalidStatus) as refused:
        await ws(address, path)
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("query", ["min_score=2", "min_score=x", "min_score=nan"])
async def test_a_query_that_cannot_be_is_refused(address: str, query: str) -> None:
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{address}/api/tracks?{query}")).status_code == 422
    with pytest.raises(InvalidStatus):
        await ws(address, f"/api/tracks?{query}")


async def test_events_come_by_socket_and_stream_and_go_on_where_they_ended(
    service: Service, address: str
) -> None:
    async with ws(address, "/api/events") as stream, sse(address, "/api/cameras/door/events") as events:
        await until(lambda: service.events.subscribers == 2)
        published(service, 1)
        published(service, 2, tracks=())
        by_socket = [TrackEvent.model_validate_json(await stream.recv()) for _ in range(4)]
        by_stream = [await anext(events) for _ in range(4)]
    assert [event.event for event in by_socket] == ["born", "born", "lost", "lost"]
    assert [event.number for event in by_socket] == [1, 2, 3, 4]
    assert [TrackEvent.model_validate(data) for _, data in by_stream] == by_socket
    assert [number for number, _ in by_stream] == ["1", "2", "3", "4"]
    await until(lambda: service.events.subscribers == 0)
    published(service, 3)
    async with sse(address, "/api/events", **{"Last-Event-ID": "3"}) as again:
        assert [(await anext(again))[0] for _ in range(3)] == ["4", "5", "6"]
    async with ws(address, "/api/events?after=5") as later:
        assert json.loads(await later.recv())["number"] == 6


async def test_what_is_sent_is_as_the_published_schemas_say(service: Service, address: str) -> None:
    published(service, 1)
    published(service, 2, flags=("cut",), stages_s={"queue": 0.002})
    async with httpx.AsyncClient() as http:
        for name, path in (("tracks", "/api/tracks"), ("events", "/api/events")):
            answer = await http.get(f"{address}/api/schema/{name}.json")
            assert answer.headers["content-type"] == "application/schema+json"
            schema = answer.json()
            assert schema == schema_of(name)
            assert schema["version"] == schema["properties"]["version"]["const"] == 1
            Draft202012Validator.check_schema(schema)
            sent = (await http.get(address + path)).json()
            assert sent
            for each in sent:
                Draft202012Validator(schema).validate(each)
                # Only to who watches with masks as data; only of events at zones and lines; only on a cluster.
                told = set(schema["properties"]) - {
                    "rtp_timestamp",
                    "zone",
                    "line",
                    "direction",
                    "dwell_s",
                    "epoch",
                }
                assert set(each) == told, "every key is told"
                assert not Draft202012Validator(schema).is_valid(each | {"version": 2})
        assert (await http.get(f"{address}/api/schema/other.json")).status_code == 404


async def test_streams_end_when_the_service_closes(service: Service, address: str) -> None:
    async with sse(address, "/api/tracks") as frames, sse(address, "/api/events") as events:
        async with ws(address, "/api/events") as stream:
            await until(lambda: service.events.subscribers == 2)
            await service.close()
            with pytest.raises(ConnectionClosed):
                await stream.recv()
        assert [each async for each in frames] == [each async for each in events] == []


@pytest.mark.parametrize("kind", ["websocket", "http"])
async def test_a_client_that_stops_reading_is_cut_counted_and_delays_nobody(
    service: Service, kind: str
) -> None:
    options = {"stall_timeout_s": 0.2, "on_cut": service.subscriber_cut}
    # What the kernel buffers for the one that stalls is soon full of such messages.
    async with serving(create_app(service), **options) as (server, address):
        path, hub = "/api/cameras/door/tracks", service.hub("door")
        stalled = await stalled_client(address, path, kind)
        async with ws(address, path) as stream:
            await until(lambda: hub.subscribers == 2)
            seq = 0
            while hub.subscribers == 2:
                seq += 1
                published(service, seq, flags=LARGE_FLAGS)
                assert decode(await stream.recv()).seq == seq
            await until(lambda: len(server.server_state.connections) == 1)
        stalled.close()
    assert service.registry.get_sample_value("syncvis_subscribers_cut_total", {"transport": kind}) == 1


async def stalled_client(address: str, path: str, kind: str) -> socket.socket:
    """A client that never reads anything, with as small a receive buffer as there is."""
    host, port = address.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, int(port)))
    asks = {
        "websocket": [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ],
        "http": ["Accept: text/event-stream"],
    }
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *asks[kind]]
    await loop.sock_sendall(client, ("\r\n".join(lines) + "\r\n\r\n").encode())
    return client


async def test_a_client_that_stalls_does_not_hold_the_end_of_the_server(service: Service) -> None:
    async with serving(create_app(service), stall_timeout_s=3600) as (server, address):
        stalled = await stalled_client(address, "/api/tracks", "http")
        await until(lambda: service.hub("door").subscribers == 1)
        seq = 0
        while not any(each._stall.stalled for each in server.server_state.connections):
            published(service, seq := seq + 1, flags=LARGE_FLAGS)
            await asyncio.sleep(0)
    stalled.close()
