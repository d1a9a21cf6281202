"""A program that subscribes gets what it asks for, goes on after the server did, and is told what it must mend."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import aclosing

import pytest

import stream
from stream import subscribe, subscribe_events
from stream.errors import ConfigError, SourceInvalid, SourceNotFound, SourceUnauthorized
from stream.server import ServerOptions, create_app
from stream.sources import ReconnectPolicy
from stream.wire import WireFrame
from tests.stream.viewer_frames import make_picture, make_service, serving, until

TOKEN = "0123456789abcdef"
SOON = ReconnectPolicy(initial_delay_s=0.01, max_delay_s=0.05)


async def test_frames_and_events_come_as_asked_for() -> None:
    service = make_service("door", "yard")
    async with serving(create_app(service, ServerOptions(tokens=(TOKEN,)))) as (_, address):
        for camera in ("door", "yard"):
            service.hub(camera).publish(make_picture(1, camera))
        async with (
            aclosing(subscribe(address, camera="door", label="dog", min_score=0.5, token=TOKEN)) as frames,
            aclosing(subscribe(f"{address}/", camera=["door", "yard"], label="cat", token=TOKEN)) as cats,
        ):
            frame = await anext(frames)
            assert frame == WireFrame.of(make_picture(1, "door")).model_copy(
                update={"published_at_s": frame.published_at_s}
            )
            both = [await anext(cats), await anext(cats)]
        assert {(each.camera, each.tracks) for each in both} == {("door", ()), ("yard", ())}


async def test_it_goes_on_after_the_server_did_and_misses_no_event_that_is_kept() -> None:
    service = make_service("door")
    app = create_app(service)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        aclosing(subscribe(url, retry=SOON)) as frames,
        aclosing(subscribe_events(url, retry=SOON)) as events,
    ):
        first_frame, first_event = asyncio.create_task(anext(frames)), asyncio.create_task(anext(events))
        async with serving(app, port=port):
            await until(lambda: service.events.subscribers == 1)
            service.hub("door").publish(make_picture(1, "door"))
            assert (await first_frame).seq == 1
            assert (await first_event).number == 1
            assert (await anext(events)).number == 2
        service.hub("door").publish(make_picture(60, "door"))  # both are gone after 2.36 s: not seen again
        async with serving(create_app(service), port=port):
            assert (await anext(frames)).seq == 60
            service.hub("door").publish(make_picture(61, "door"))
    assert service.events.subscribers == 0


async def test_events_that_were_missed_come_first() -> None:
    service = make_service("door")
    port = free_port()
    async with aclosing(subscribe_events(f"http://127.0.0.1:{port}", retry=SOON)) as events:
        first = asyncio.create_task(anext(events))
        async with serving(create_app(service), port=port):
            await until(lambda: service.events.subscribers == 1)
            service.hub("door").publish(make_picture(1, "door"))
            assert (await first).number == 1
            assert (await anext(events)).number == 2
        lost = make_picture(2, "door")
        service.hub("door").publish(stream_without_tracks(lost))
        async with serving(create_app(service), port=port):
            missed = [await anext(events), await anext(events)]
    assert [(event.number, event.event) for event in missed] == [(3, "lost"), (4, "lost")]


async def test_what_only_the_caller_can_mend_is_raised() -> None:
    service = make_service("door")
    async with serving(create_app(service, ServerOptions(tokens=(TOKEN,)))) as (_, address):
        for arguments, error in (
            ({"token": TOKEN[1:]}, SourceUnauthorized),
            ({}, SourceUnauthorized),
            ({"token": TOKEN, "camera": "nobody"}, SourceNotFound),
            ({"token": TOKEN, "camera": ["door", "nobody"]}, SourceNotFound),
        ):
            with pytest.raises(error) as refused:
                await anext(subscribe(address, **arguments))  # type: ignore[arg-type]
            assert TOKEN[1:] not in str(refused.value)
    async with serving(_forbids_all) as (_, address):
        with pytest.raises(SourceInvalid):
            await anext(subscribe(address))


@pytest.mark.parametrize(
    "url", ["", "host:8080", "ftp://host", "http://", "http://u:secret@host", "http://host?x=1"]
)
def test_an_address_that_cannot_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="url: ") as refused:
        subscribe(url)
    assert "secret" not in str(refused.value)


def test_the_public_names_are_these_and_a_client_loads_no_model() -> None:
    assert set(stream.__all__) == {
        *("TrackEvent", "TrackerStream", "WireFrame", "WireTrack"),
        *("open_tracker", "subscribe", "subscribe_events"),
    }
    for name in stream.__all__:
        assert getattr(stream, name).__name__ == name
    code = "import sys; from stream import subscribe; assert not {'torch', 'aiortc'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def stream_without_tracks(frame: object) -> object:
    from dataclasses import replace

    return replace(frame, tracks=())  # type: ignore[type-var]


async def _forbids_all(scope: dict[str, object], receive: object, send: object) -> None:
    """An application that knows lifespans and says 410 to everything."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":  # type: ignore[operator]
            await send({"type": "lifespan.startup.complete"})  # type: ignore[operator]
        await send({"type": "lifespan.shutdown.complete"})  # type: ignore[operator]
        return
    await send({"type": "websocket.http.response.start", "status": 410, "headers": []})  # type: ignore[operator]
    await send({"type": "websocket.http.response.body", "body": b""})  # type: ignore[operator]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
