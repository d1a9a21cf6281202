"""Where the best way to the picture is closed the page takes another one, says so in words, and comes back."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from stream.app import Service
from stream.config import parse_config
from stream.server import ServerOptions, create_app
from stream.types import EngineAnswer, Window
from stream.webrtc.ice import IceOptions
from tests.browser.pages import Complaints, collect_pictures
from tests.browser.test_viewer_controls import CHROMA, INSIDE, click_at, dog_and_car
from tests.browser.test_viewer_page import SCREENS
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving, until
from tests.support.numbered import NumberEngine
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.browser

NOWHERE = IceOptions(advertised="192.0.2.1")
"""The server says that it is where UDP leads to nobody (TEST-NET-1), as one behind a firewall would be."""

UDP_WHEN_TOLD = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceTransportPolicy: window.udp ? "all" : "relay" });
  }
};
"""


async def wait_for_mode(page: Page, mode: str) -> None:
    """Wait until the picture comes by "data", "overlay" or "pictures", and is live."""
    await page.wait_for_selector(f'#stage[data-mode="{mode}"][data-state="live"]', timeout=60_000)


@pytest.mark.parametrize("screen", ["desktop"])
async def test_without_udp_pictures_come_by_websocket_with_all_that_is_drawn_on_them(
    browser: Browser, artifacts: Path, screen: str
) -> None:
    service = make_service("door")
    async with (
        serving(create_app(service, ServerOptions(ice=NOWHERE))) as (_, address),
        publishing(service, "door", change=dog_and_car),
    ):
        page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
        complaints = Complaints(page)
        await page.goto(address)
        await wait_for_mode(page, "pictures")
        await expect(page.locator("#notice-text")).to_contain_text("WebSocket")
        await page.wait_for_function(CHROMA, arg=[INSIDE, 60, 255])
        box = await page.locator("#stage").bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(SIZE[1] / SIZE[0], rel=0.02), "no bars"
        await page.screenshot(path=artifacts / f"no-udp-{screen}.png", full_page=screen == "phone")
        await page.click("text=Masks")
        await page.wait_for_function(CHROMA, arg=[INSIDE, 0, 25])
        await click_at(page, INSIDE)
        await expect(page.locator("#life h2")).to_have_text("car #2")
        await page.click("[data-switch=server]")
        await page.wait_for_function(CHROMA, arg=[INSIDE, 60, 255])
        await expect(page.locator("[data-switch=masks]")).to_be_disabled()
        await expect(page.locator("#fps")).to_have_text(re.compile(r"^[1-9]"))
        assert complaints.errors == []


async def test_webrtc_is_tried_again_and_takes_over(browser: Browser) -> None:
    service = make_service("door", "yard")
    async with serving(create_app(service)) as (_, address), publishing(service, "door", "yard"):
        page = await browser.new_page()
        await page.add_init_script(UDP_WHEN_TOLD)
        await page.goto(address)
        await wait_for_mode(page, "pictures")
        await page.keyboard.press("ArrowRight")
        await wait_for_mode(page, "pictures")
        assert await page.inner_text("#camera-name") == "yard"
        await page.evaluate("window.udp = true")
        await page.click("#try-again")
        await wait_for_mode(page, "data")
        await expect(page.locator("#notice")).to_be_hidden()
        assert len(await collect_pictures(page, 2)) == 2
        # Nobody reads pictures any more: what is left is the viewer's own subscription, and the tracks'.
        await until(lambda: service.hub("yard").subscribers == 2)


class SlowEngine(NumberEngine):
    """It answers, but later than the server holds a picture."""

    def process(self, window: Window) -> EngineAnswer:
        """See `NumberEngine`."""
        time.sleep(1.3)
        return super().process(window)


@pytest.mark.integration
async def test_where_the_model_is_slow_the_server_draws_and_the_page_says_why(
    browser: Browser, rtsp_server: RtspServer, artifacts: Path
) -> None:
    url = rtsp_server.serve_clip(index_frames(50), codec="h264-baseline")
    config = parse_config({"cameras": {"cam": {"url": url}}, "state_dir": None}, "test")
    async with Service(config, SlowEngine()) as service, serving(create_app(service)) as (_, address):
        await until(lambda: service.hub("cam").latest is not None)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(address)
        await page.wait_for_selector('#stage[data-mode="data"]')
        await page.wait_for_selector('#stage[data-mode="overlay"]')
        await expect(page.locator("#notice-text")).to_contain_text("later than pictures can wait")
        await expect(page.locator("[data-switch=masks]")).to_be_disabled()
        picture = (await collect_pictures(page, 1))[0].astype(int)
        assert (picture.max(axis=2) - picture.min(axis=2) > 40).any(), "the mask is drawn into it"
        await page.screenshot(path=artifacts / "slow-model.png")
