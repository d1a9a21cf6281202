"""Tracked frames with masks worth drawing, and a service to show them, for the viewer's tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from stream.app import Service
from stream.config import parse_config
from stream.http_server import HttpOptions, ViewerServer
from stream.types import TrackedFrame
from syncvis_online.types import Mask, Track, box_of_mask, encode_mask
from tests.stream.frames import SquareEngine

SIZE = (192, 320)


def ellipse(center: tuple[int, int], axes: tuple[int, int], size: tuple[int, int] = SIZE) -> Mask:
    """A boolean mask of shape `size` with a filled ellipse; centre and axes are (x, y) in pixels."""
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, center, axes, 0, 0, 360, 1, cv2.FILLED)
    return mask > 0


def make_track(track_id: int, mask: Mask, label: str = "dog", score: float = 0.75) -> Track:
    """A track of a mask, with its tight box."""
    return Track(track_id, label, score, encode_mask(mask), box_of_mask(mask))


def make_picture(seq: int, camera: str = "cam", size: tuple[int, int] = SIZE) -> TrackedFrame:
    """Frame `seq` of a camera at 25 frames/s: a grey ramp and two ellipses, one of which moves."""
    height, width = size
    ramp = np.linspace(60, 180, width, dtype=np.uint8)
    image = np.repeat(np.repeat(ramp[None, :, None], height, axis=0), 3, axis=2)
    image.setflags(write=False)
    masks = [ellipse((70 + seq % 40, 80), (30, 40), size), ellipse((230, 100), (50, 30), size)]
    return TrackedFrame(
        camera=camera,
        seq=seq,
        pts=3600 * seq,
        time_base=Fraction(1, 90_000),
        captured_at_s=1_700_000_000 + seq / 25,
        clock="arrival",
        tracks=tuple(make_track(i + 1, mask) for i, mask in enumerate(masks)),
        image=image,
    )


def make_service(*cameras: str) -> Service:
    """A service that was not started: what its hubs publish is the test's business."""
    names = cameras or ("cam",)
    config = parse_config({"cameras": {name: {"url": "synthetic:1"} for name in names}}, "test")
    return Service(config, SquareEngine())


Change = Callable[[TrackedFrame], TrackedFrame]


async def publish_for_ever(
    service: Service, camera: str = "cam", period_s: float = 0.04, change: Change = lambda frame: frame
) -> None:
    """Publish moving pictures on a camera's hub until cancelled, each as `change` makes it."""
    hub = service.hub(camera)
    seq = 0
    while True:
        hub.publish(change(replace(make_picture(seq, camera), captured_at_s=time.time())))
        seq += 1
        await asyncio.sleep(period_s)


@asynccontextmanager
async def publishing(
    service: Service, *cameras: str, change: Change = lambda frame: frame
) -> AsyncIterator[None]:
    """Cameras that publish while inside; see `publish_for_ever`."""
    tasks = [
        asyncio.create_task(publish_for_ever(service, name, change=change)) for name in cameras or ("cam",)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def serving(app: Any, *, port: int = 0, **options: Any) -> AsyncIterator[tuple[ViewerServer, str]]:
    """The application on loopback, as `serve` runs it; gives the server and its address. Port 0: any free."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = ViewerServer.create(app, port=port, on_ready=address.set_result, options=HttpOptions(**options))
    task = asyncio.create_task(server.serve())
    try:
        yield server, (await address).rstrip("/")
    finally:
        server.should_exit = True
        await task


async def until(true: Callable[[], object]) -> None:
    """Let the loop run until a condition holds; pytest's time limit is the bound."""
    while not true():  # noqa: ASYNC110  # what is waited for has no event of its own
        await asyncio.sleep(0.001)
