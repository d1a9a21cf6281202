"""The whole way, from a camera to the glass: what a browser shows is what the model said of that very frame.

A GStreamer RTSP server sends a clip of the synthetic world in H.264; `syncvis-online serve` with the model
that ships runs against it and knows nothing of the ground truth; Chromium opens the page. The frame's number,
burnt into the picture, ties each picture on the canvas to the masks that the WebSocket published for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser
from websockets.asyncio.client import ClientConnection, connect

from stream.stamp import read_stamp
from stream.wire import WireFrame, decode
from syncvis_online.data.synthetic import SyntheticFrame, load_level, render_video
from syncvis_online.types import Image, Track
from tests.browser.agreement import Clip, agreement, is_covered, own_shares
from tests.browser.pages import collect_pictures, wait_for_state
from tests.integration.processes import ServeProcess, write_config
from tests.support.rtsp_server import RtspServer

pytestmark = [pytest.mark.browser, pytest.mark.integration]

SEED = 9001
FRAMES = 100
PICTURES = 20
LARGE = 0.2
"""Share of the picture's height from which on an object counts as large."""


@pytest.mark.timeout(300)
async def test_a_browser_shows_the_published_masks_on_their_own_frames(
    browser: Browser, rtsp_server: RtspServer, tmp_path: Path, artifacts: Path
) -> None:
    level = load_level("medium")
    world = list(render_video(level, SEED, FRAMES))
    fps = round(level.fps)
    url = rtsp_server.serve_clip([frame.image for frame in world], fps=fps, gop=fps)
    config = write_config(
        tmp_path, {"street": url}, model={"name": "default"}, server={"port": 0, "frame_stamp": True}
    )
    with ServeProcess(config) as server:
        async with published_frames(server.address, "street") as published:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(server.address)
            await wait_for_state(page, "live")
            await page.click("[data-switch=server]")
            await page.wait_for_selector('#stage[data-mode="overlay"][data-state="live"]')
            pictures = await collect_pictures(page, PICTURES, every=2)
            await page.screenshot(path=artifacts / "viewer.png")
    pairs = pair_by_number(pictures, published)
    assert len(pairs) >= 10, (
        f"{len(pictures)} pictures, {len(published)} published, {len(pairs)} of the same frame"
    )
    keep(artifacts / "canvas.png", pairs[-1][0])
    check_colours_and_coverage(pairs, world)


def check_colours_and_coverage(
    pairs: list[tuple[Image, tuple[Track, ...]]], world: list[SyntheticFrame]
) -> None:
    """The colours agree with the masks on every frame, each with its own, and half of the large objects are covered."""
    clip = Clip([frame.image for frame in world])
    agreements, mirrored, covered, own, exchanged = [], [], [], [], []
    for shown, tracks in pairs:
        truth = world[clip.nearest(shown, tracks)]
        found = agreement(shown, truth.image, tracks)
        if found.pixels >= 500:
            agreements.append(found.iou)
            if len(mirrored) < 3:
                mirrored.append(agreement(shown[:, ::-1], truth.image[:, ::-1], tracks).iou)
        own += own_shares(shown, truth.image, tracks, least=200)
        ids = [track.track_id for track in tracks]
        others = [replace(track, track_id=ids[i - 1]) for i, track in enumerate(tracks)]
        exchanged += own_shares(shown, truth.image, others, least=200) if len(tracks) > 1 else []
        covered += [is_covered(thing.mask, tracks) for thing in truth.objects if is_large(thing.mask)]
    print(
        f"{len(agreements)} frames: IoU of colours and masks {min(agreements, default=0):.3f} to "
        f"{max(agreements, default=0):.3f}; {len(own)} masks: own colour on {min(own, default=0):.3f} to "
        f"{max(own, default=0):.3f} of their pixels; {sum(covered)} of {len(covered)} large objects covered"
    )
    assert len(agreements) >= 10, "too few frames with masks to compare"
    assert min(agreements) >= 0.8
    assert np.median(mirrored) < 0.5, "masks of another place agree too: the comparison says nothing"
    assert len(own) >= 20, "too few masks to compare one by one"
    assert np.median(own) >= 0.9, "masks are not drawn in the colours of their ids"
    assert np.median(exchanged) < 0.2, "another id's colour agrees too: the comparison says nothing"
    assert len(covered) >= 10, "the clip shows too few large objects"
    assert sum(covered) >= len(covered) / 2


def is_large(mask: np.ndarray) -> bool:
    """Whether what can be seen of an object is at least `LARGE` of the picture's height."""
    rows = np.flatnonzero(mask.any(axis=1))
    return bool(rows.size) and rows[-1] - rows[0] + 1 >= LARGE * mask.shape[0]


def pair_by_number(
    pictures: list[Image], published: dict[int, WireFrame]
) -> list[tuple[Image, tuple[Track, ...]]]:
    """Each picture whose burnt-in number was published, with the tracks of that frame."""
    numbered = [(read_stamp(picture), picture) for picture in pictures]
    unreadable = sum(number is None for number, _ in numbered)
    assert unreadable <= len(pictures) // 10, f"{unreadable} of {len(pictures)} stamps cannot be read"
    return [
        (picture, tuple(track.to_track() for track in published[number].tracks))
        for number, picture in numbered
        if number in published
    ]


@asynccontextmanager
async def published_frames(address: str, camera: str) -> AsyncIterator[dict[int, WireFrame]]:
    """Everything that the WebSocket says, by frame number, while inside."""
    frames: dict[int, WireFrame] = {}

    async def read(stream: ClientConnection) -> None:
        async for message in stream:
            frame = decode(message)
            frames[frame.seq] = frame

    async with connect(f"ws{address[4:]}/ws/cameras/{camera}/tracks") as stream:
        reader = asyncio.create_task(read(stream))
        try:
            yield frames
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


def keep(path: Path, image: Image) -> None:
    """Write a picture for whoever reads the results."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
