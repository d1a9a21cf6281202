"""A service's cameras live and die apart, and its end leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from stream.app import Service
from stream.config import parse_config
from stream.errors import ConfigError
from stream.types import Frame
from tests.stream.frames import ListSource, SquareEngine, make_frame

SYNTHETIC = "synthetic:7?size=160x96"


def service_of(engine: SquareEngine, /, **cameras: str) -> Service:
    config = {"cameras": {name: {"url": url, "realtime": False} for name, url in cameras.items()}}
    return Service(parse_config(config, "test"), engine)


def assert_nothing_is_left() -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"engine", "source"}


async def first_frames(service: Service, camera: str, count: int) -> list[int]:
    async with service.hub(camera).subscribe() as frames:
        seen: list[int] = []
        async for frame in frames:
            seen.append(frame.seq)
            if len(seen) == count:
                break
        return seen


async def test_cameras_that_fail_leave_their_siblings_running(caplog: pytest.LogCaptureFixture) -> None:
    engine = SquareEngine()
    engine.fail_cameras = {"bad-model"}
    cameras = {
        "missing": "nowhere.mp4",
        "refused": "rtsp://me:hunter2@127.0.0.1:9/x",
        "bad-model": SYNTHETIC,
        "good": SYNTHETIC,
    }
    async with service_of(engine, **cameras) as service:
        seen = await first_frames(service, "good", 8)
        # Cameras start in any order on a busy machine: go on until the other one has failed.
        while not service.cameras["bad-model"].status().dropped:
            seen += await first_frames(service, "good", 1)
        status = {camera.name: camera for camera in service.status()}
    assert len(seen) >= 8
    assert seen == sorted(seen)
    assert status["good"].up
    assert status["good"].last_error is None
    assert not status["missing"].up
    assert "nowhere.mp4" in (status["missing"].last_error or "")
    assert status["bad-model"].processed == 0
    assert status["bad-model"].dropped["engine_error"] > 0
    assert status["refused"].url == "rtsp://me:***@127.0.0.1:9/x"
    assert "hunter2" not in caplog.text
    assert_nothing_is_left()


class DefectiveSource:
    """A source with a bug: it raises what no source may raise."""

    paced = False

    async def frames(self) -> AsyncGenerator[Frame, None]:
        yield make_frame(0, "defective")
        raise ZeroDivisionError("a bug")


async def test_a_defect_in_one_camera_ends_only_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SquareEngine()
    service = service_of(engine, defective=SYNTHETIC, good=SYNTHETIC)
    monkeypatch.setattr(service.cameras["defective"], "_source", DefectiveSource())
    async with service:
        await first_frames(service, "good", 8)
        defective, good = service.status()
    assert "ZeroDivisionError" in (defective.last_error or "")
    assert good.up
    assert sorted(engine.forgotten) == ["defective", "good"]
    assert_nothing_is_left()


async def test_close_ends_everybody_who_waits() -> None:
    engine = SquareEngine()
    service = service_of(engine, yard=SYNTHETIC)
    await service.start()
    await first_frames(service, "yard", 1)
    stalled = service.hub("yard").subscribe()
    waiting = asyncio.create_task(first_frames(service, "yard", 10**9))
    await asyncio.sleep(0)
    await service.close()
    await service.close()
    await waiting
    assert stalled.closed
    assert service.hub("yard").subscribers == 0
    assert_nothing_is_left()


async def test_close_takes_the_series_of_its_cameras() -> None:
    service = service_of(SquareEngine(), yard=SYNTHETIC)
    async with service:
        await first_frames(service, "yard", 1)
        assert service.registry.get_sample_value("syncvis_camera_up", {"camera": "yard"}) == 1
    assert service.registry.get_sample_value("syncvis_camera_up", {"camera": "yard"}) is None


async def test_a_camera_that_does_not_stop_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.app.CLOSE_TIMEOUT_S", 0.05)
    service = service_of(SquareEngine(), yard=SYNTHETIC)
    pipeline = service.cameras["yard"]
    source = ListSource([make_frame(0, "yard")], endless=True)
    monkeypatch.setattr(pipeline, "_source", source)
    monkeypatch.setattr(pipeline, "stop", lambda: None)
    await service.start()
    await source.all_given.wait()
    await service.close()
    assert not source.is_open
    assert_nothing_is_left()


async def test_a_service_that_was_never_started_can_be_closed() -> None:
    await service_of(SquareEngine(), yard=SYNTHETIC).close()


def test_a_wrong_address_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"ftp://me:\*\*\*@host/x"):
        service_of(SquareEngine(), yard="ftp://me:hunter2@host/x")
