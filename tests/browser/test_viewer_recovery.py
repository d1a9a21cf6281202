"""A page that is left open comes back by itself: after the camera was away, and after the server was."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from stream.server import create_app
from tests.browser.pages import collect_pictures, wait_for_state
from tests.integration.processes import ServeProcess, write_config
from tests.stream.viewer_frames import make_service, publishing, serving
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = [pytest.mark.browser, pytest.mark.integration]


async def reconnects(address: str, camera: str) -> float:
    """The camera's counter of reconnects, as Prometheus would read it."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{address}/metrics")).text
    found = re.findall(rf'^syncvis_reconnects_total{{camera="{camera}",.*}} (\S+)$', text, re.MULTILINE)
    assert found, "the counter is not there"
    return sum(float(value) for value in found)


@pytest.mark.timeout(240)
async def test_the_picture_comes_back_after_the_camera_was_away(
    browser: Browser, rtsp_server: RtspServer, tmp_path: Path, artifacts: Path
) -> None:
    url = rtsp_server.serve_clip(index_frames(50, 640, 360), fps=10, gop=10)
    with ServeProcess(write_config(tmp_path, {"gate": url})) as server:
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(server.address)
        await wait_for_state(page, "live")
        assert await reconnects(server.address, "gate") == 0
        rtsp_server.kill()
        await wait_for_state(page, "reconnecting")
        await page.screenshot(path=artifacts / "camera-away.png")
        rtsp_server.start()
        await wait_for_state(page, "live")
        assert len(await collect_pictures(page, 3)) == 3
        assert await reconnects(server.address, "gate") >= 1
        await expect(page.locator("#reconnects")).to_have_text(re.compile(r"^[1-9]"), timeout=30_000)


@pytest.mark.timeout(120)
async def test_the_page_comes_back_after_the_server_was_away(browser: Browser) -> None:
    page = await browser.new_page()
    first, second = make_service(), make_service()
    async with serving(create_app(first)) as (_, address), publishing(first):
        await page.goto(address)
        await wait_for_state(page, "live")
    await wait_for_state(page, "reconnecting")
    port = int(address.rpartition(":")[2])
    async with serving(create_app(second), port=port), publishing(second):
        await wait_for_state(page, "live")
