"""A real camera's picture, a part of it kept and a person on it hidden: no way of watching shows anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from stream.app import Service
from stream.config import parse_config
from stream.server import create_app
from stream.types import EngineAnswer, Window
from syncvis_online.types import Image, Track, box_of_mask, encode_mask
from tests.stream.frames import SquareEngine, answer_frame
from tests.stream.test_masks_as_data import DataViewer
from tests.stream.viewer_frames import serving, until
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration

CELL = 4
TOP, LEFT, ROWS, COLUMNS = 64, 128, 96, 64
"""Where the person stands, in pixels of the camera's picture."""


def pictures(count: int) -> list[Image]:
    """Numbered pictures with a person on them: a chequered one."""
    cells = np.indices((ROWS // CELL, COLUMNS // CELL)).sum(axis=0) % 2
    person = (255 * np.kron(cells, np.ones((CELL, CELL)))).astype(np.uint8)[..., None]
    frames = index_frames(count)
    for frame in frames:
        frame[TOP : TOP + ROWS, LEFT : LEFT + COLUMNS] = person
    return frames


def detail(picture: Image, top: int = TOP, left: int = LEFT) -> float:
    """How much neighbouring cells of the person differ, 0 to 255."""
    person = picture[top : top + ROWS, left : left + COLUMNS].astype(float)
    return float(np.abs(person[:, CELL:] - person[:, :-CELL]).mean())


class PersonEngine(SquareEngine):
    """Finds the person where it stands; in a picture of which only a part was kept, nothing."""

    labels = ("person",)

    def process(self, window: Window) -> EngineAnswer:
        self.go_on.wait(30)
        mask = np.zeros(window.frames[-1].image.shape[:2], np.bool_)
        mask[TOP : TOP + ROWS, LEFT : LEFT + COLUMNS] = True
        track = Track(1, "person", 0.9, encode_mask(mask), box_of_mask(mask))
        answers = [answer_frame(frame, tracks=0) for frame in window.frames[-window.answers :]]
        self.windows.append(window)
        tracks = (track,) if mask.shape == (192, 320) else ()
        return EngineAnswer(tuple(replace(answer, tracks=tracks) for answer in answers), {"decode": 0.001})


@dataclass
class Watched:
    service: Service
    engine: PersonEngine
    http: httpx.AsyncClient

    @property
    def passed_on(self) -> float:
        """How many of the camera's own packets went to viewers."""
        value = self.service.registry.get_sample_value
        labels = ({"camera": "cam", "masks": masks} for masks in ("own", "none", "late"))
        return sum(value("syncvis_pictures_passed_total", each) or 0 for each in labels)

    async def snapshot(self, overlay: bool) -> Image:
        answer = await self.http.get(f"/api/cameras/cam/snapshot.jpg?overlay={str(overlay).lower()}")
        assert answer.status_code == 200
        return decoded(answer.content)

    async def by_socket(self, masks: str) -> Image:
        """A picture as it comes by WebSocket."""
        base = str(self.http.base_url).rstrip("/")
        async with connect(f"ws{base[4:]}/api/cameras/cam/pictures?masks={masks}") as socket:
            while not isinstance(message := await socket.recv(), bytes):
                pass
        return decoded(message)

    async def seen(self, masks: str, count: int = 3) -> list[Image]:
        """Pictures as a WHEP viewer decodes them."""
        async with DataViewer(self.http) as viewer:
            assert (await viewer.watch(masks)).status_code == 201
            return [await viewer.picture() for _ in range(count)]


def decoded(jpeg: bytes) -> Image:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(picture, np.uint8)


@asynccontextmanager
async def watched(server: RtspServer, **settings: object) -> AsyncIterator[Watched]:
    """A service with one real camera, and a client of it."""
    url = server.serve_clip(pictures(40), gop=10, codec="h264-baseline")
    config = parse_config({"cameras": {"cam": {"url": url} | settings}}, "test")
    engine = PersonEngine()
    async with (
        Service(config, engine) as service,
        serving(create_app(service)) as (_, address),
        httpx.AsyncClient(base_url=address) as http,
    ):
        yield Watched(service, engine, http)


async def every_way(watching: Watched) -> dict[str, Image]:
    await until(lambda: watching.service.hub("cam").latest is not None)
    return {
        "snapshot": await watching.snapshot(overlay=False),
        "snapshot with overlay": await watching.snapshot(overlay=True),
        "pictures": await watching.by_socket("overlay"),
        "pictures as data": await watching.by_socket("data"),
        "overlay": (await watching.seen("overlay"))[-1],
        "data": (await watching.seen("data"))[-1],
    }


async def test_who_is_hidden_is_shown_by_no_way_of_watching(rtsp_server: RtspServer) -> None:
    async with watched(rtsp_server, blur=["person"]) as watching:
        for way, picture in (await every_way(watching)).items():
            assert picture.shape == (192, 320, 3)
            assert detail(picture) < 20, way
        assert watching.service.cameras["cam"].packets.format is None
        assert not watching.passed_on, "no packets for anybody"


async def test_without_it_every_way_of_watching_shows_the_person(rtsp_server: RtspServer) -> None:
    async with watched(rtsp_server) as watching:
        await until(lambda: watching.service.cameras["cam"].packets.format is not None)
        for way, picture in (await every_way(watching)).items():
            assert detail(picture) > 40, way
        assert watching.passed_on


async def test_a_picture_that_is_not_answered_yet_is_not_shown(rtsp_server: RtspServer) -> None:
    async with watched(rtsp_server, blur=["person"]) as watching:
        watching.engine.go_on.clear()
        camera = watching.service.cameras["cam"]
        await until(lambda: camera.status().received > 3)
        assert (await watching.http.get("/api/cameras/cam/snapshot.jpg")).status_code == 503
        async with DataViewer(watching.http) as viewer:
            assert (await viewer.watch("data")).status_code == 409
        watching.engine.go_on.set()
        await until(lambda: camera.hub.latest is not None)


async def test_from_when_somebody_has_to_be_hidden_nobody_is_shown_what_was_before(
    rtsp_server: RtspServer,
) -> None:
    async with watched(rtsp_server, blur=[]) as watching:
        await until(lambda: watching.service.hub("cam").latest is not None)
        assert detail(await watching.snapshot(overlay=False)) > 40
        watching.engine.go_on.clear()  # so that no newer picture can take the place of the last one
        settings = watching.service.cameras.settings("cam").model_copy(update={"blur": ("person",)})
        changing = asyncio.create_task(watching.service.cameras.change("cam", settings))
        await until(lambda: watching.service.cameras["cam"].scene.blur.any)
        assert (await watching.http.get("/api/cameras/cam/snapshot.jpg")).status_code in (404, 503)
        watching.engine.go_on.set()
        assert await changing, "it is opened anew"
        for way, picture in (await every_way(watching)).items():
            assert detail(picture) < 20, way


async def test_every_way_of_watching_shows_the_part_that_is_kept(rtsp_server: RtspServer) -> None:
    """The right half without its top: the person's left half is cut off, and the number at the top."""
    async with watched(rtsp_server, crop=[0.5, 0.25, 1, 1]) as watching:
        for way, picture in (await every_way(watching)).items():
            assert picture.shape == (144, 160, 3), way
            assert detail(picture[:, :32], TOP - 48, 0) > 40, way
        report = (await watching.http.get("/api/cameras/cam/tracks")).json()
        assert (report["width"], report["height"]) == (160, 144)


async def test_so_many_pictures_a_second_are_looked_at(rtsp_server: RtspServer) -> None:
    """Of 25 a second every fifth, by the camera's own time, however the machine is pressed."""
    async with watched(rtsp_server, fps=5) as watching:
        camera = watching.service.cameras["cam"]
        await until(lambda: len(watching.engine.windows) >= 8)
        frames = [window.frames[-1] for window in watching.engine.windows]
        status = camera.status()
    media_s = [float(frame.pts * frame.time_base) for frame in frames]
    assert min(np.diff(media_s)) > 0.15
    assert status.dropped["fps"] >= 3 * (len(frames) - 1)
    assert status.received >= 4 * (len(frames) - 1)
