"""Pictures by WebSocket: what was published, once for all who read, newest only, and none while nobody does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stream.app import Service
from stream.overlay import draw_overlay
from stream.server import ServerOptions, create_app
from stream.types import TrackedFrame
from stream.wire import decode, encode
from syncvis_online.types import Image
from tests.stream.viewer_frames import make_picture, make_service, serving, until

PATH = "/api/cameras/door/pictures"
LARGE = (720, 1600)


@pytest.fixture
def service() -> Service:
    return make_service("door", "yard")


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    async with serving(create_app(service)) as (_, address):
        yield address


def ws(address: str, query: str = "", path: str = PATH, **options: Any) -> connect:
    return connect(f"ws{address[4:]}{path}{query}", **options)


def publish(service: Service, seq: int, size: tuple[int, int] = (192, 320)) -> TrackedFrame:
    return service.hub("door").publish(make_picture(seq, "door", size))


def encoded(service: Service) -> float:
    labels = {"camera": "door", "codec": "JPEG"}
    return service.registry.get_sample_value("syncvis_pictures_encoded_total", labels) or 0


def read_jpeg(data: str | bytes) -> Image:
    assert isinstance(data, bytes)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def differ(one: Image, other: Image) -> float:
    """The mean difference of two pictures' values, 0 to 255."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


async def test_the_overlay_is_drawn_into_the_picture(service: Service, address: str) -> None:
    frame = publish(service, 3)
    async with ws(address) as stream:
        shown = read_jpeg(await stream.recv())
    assert differ(shown, draw_overlay(frame.image, frame.tracks)) < 4
    assert differ(shown, frame.image) > 6


async def test_with_masks_as_data_each_picture_follows_what_is_on_it(service: Service, address: str) -> None:
    async with ws(address, "?masks=data") as stream:
        for seq in range(3):
            frame = publish(service, seq)
            assert await stream.recv() == encode(frame)
            assert differ(read_jpeg(await stream.recv()), frame.image) < 2


@pytest.mark.parametrize(("size", "shape"), [("small", (216, 480, 3)), ("full", (576, 1280, 3))])
async def test_pictures_are_no_larger_than_they_are_wanted(
    service: Service, address: str, size: str, shape: tuple[int, int, int]
) -> None:
    publish(service, 0, LARGE)
    async with ws(address, f"?size={size}") as stream:
        assert read_jpeg(await stream.recv()).shape == shape


async def test_a_picture_is_encoded_once_for_all_and_never_for_nobody(service: Service, address: str) -> None:
    for seq in range(20):
        publish(service, seq)
    streams = [await ws(address) for _ in range(5)]
    first = [await stream.recv() for stream in streams]
    assert encoded(service) <= len(streams), "one for each at most, where they came one after the other"
    before = encoded(service)
    publish(service, 20)
    assert len({await stream.recv() for stream in streams} - set(first)) == 1
    assert encoded(service) == before + 1
    for stream in streams:
        await stream.close()
    await until(lambda: service.hub("door").subscribers == 0)
    for seq in range(21, 40):
        publish(service, seq)
    async with ws(address) as stream:  # by now whatever was begun for them would have been counted
        await stream.recv()
    assert encoded(service) == before + 2


async def test_who_comes_as_the_last_one_leaves_gets_pictures(service: Service, address: str) -> None:
    for seq in range(10):
        frame = publish(service, seq)
        async with ws(address, "?masks=data") as stream:
            text = await stream.recv()
            assert isinstance(text, str)
            assert decode(text).seq == frame.seq


async def test_a_client_that_stops_reading_is_cut_counted_and_delays_nobody(service: Service) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    options: dict[str, Any] = {"stall_timeout_s": 0.2, "on_cut": service.subscriber_cut}
    async with serving(create_app(service), **options) as (server, address), asyncio.TaskGroup() as tasks:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.setblocking(False)
        host, port = address.removeprefix("http://").split(":")
        await asyncio.get_running_loop().sock_connect(slow, (host, int(port)))
        stalled = await ws(address, sock=slow, max_queue=1)
        stalled.transport.pause_reading()  # type: ignore[attr-defined]

        async def read(stream: Any) -> None:
            while len(server.server_state.connections) > 1:
                service.hub("door").publish(replace(make_picture(seen[0], "door"), image=noise, tracks=()))
                assert isinstance(await stream.recv(), bytes)
                seen[0] += 1

        seen = [0]
        async with ws(address) as stream:
            await until(lambda: len(server.server_state.connections) == 2)
            await tasks.create_task(read(stream))
        stalled.transport.abort()
    assert seen[0] > 1
    cut = service.registry.get_sample_value("syncvis_subscribers_cut_total", {"transport": "websocket"})
    assert cut == 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/cameras/attic/pictures", {"Authorization": "Bearer 0123456789abcdef"}, 404),
        (PATH, {"Authorization": "Bearer 0123456789abcdee"}, 401),
        (PATH, {}, 401),
        (PATH, {"Authorization": "Bearer 0123456789abcdef", "Origin": "http://elsewhere.example"}, 403),
        (f"{PATH}?size=huge", {"Authorization": "Bearer 0123456789abcdef"}, 422),
    ],
)
async def test_who_may_not_watch_or_asks_for_what_is_not_there_is_refused(
    service: Service, path: str, headers: dict[str, str], status: int
) -> None:
    app = create_app(service, ServerOptions(tokens=("0123456789abcdef",)))
    async with serving(app) as (_, address):
        publish(service, 0)
        with pytest.raises(InvalidStatus) as refused:
            await ws(address, path=path, additional_headers=headers)
    assert refused.value.response.status_code == status
    assert service.hub("door").subscribers == 0


async def test_it_ends_with_the_camera(service: Service, address: str) -> None:
    publish(service, 0)
    async with ws(address) as stream:
        await stream.recv()
        await service.close()
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
