"""All cameras at once: live tiles that say how each is, chosen by click or by keys; nothing is asked for in vain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from stream.server import create_app
from stream.types import DAMAGED
from tests.browser.pages import Complaints, wait_for_state
from tests.browser.test_viewer_page import SCREENS, fits_width
from tests.stream.viewer_frames import make_service, publishing, serving, until

pytestmark = pytest.mark.browser

GOES_ON = """
([name, more]) => {
  const canvas = document.querySelector(`[data-camera="${name}"] canvas`);
  window.seen ??= {};
  window.seen[name] ??= Number(canvas.dataset.pictures ?? 0);
  return Number(canvas.dataset.pictures ?? 0) >= window.seen[name] + more;
}
"""


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_grid_shows_every_camera_live_and_how_it_is(
    browser: Browser, artifacts: Path, screen: str
) -> None:
    service = make_service("door", "yard", "attic")
    service.cameras["door"].statistics.up(True)
    service.cameras["yard"].statistics.up(True)
    service.cameras["attic"].statistics.error("rtsp://attic.example/1: connection refused")
    async with serving(create_app(service)) as (_, address), publishing(service, "door"):
        frozen = publishing(service, "yard", change=lambda frame: replace(frame, flags=("stale",)))
        async with frozen:
            page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
            complaints = Complaints(page)
            await page.goto(f"{address}/#/grid")
            for name, text in (("door", "Live"), ("yard", "Frozen"), ("attic", "Away")):
                await expect(page.locator(f'[data-camera="{name}"] em')).to_have_text(text)
            await expect(page.locator('[data-camera="attic"]')).to_contain_text("connection refused")
            await expect(page.locator("#stage")).to_be_hidden()
            for name in ("door", "yard"):
                await page.wait_for_function(GOES_ON, arg=[name, 3])
            assert await fits_width(page)
            await page.screenshot(path=artifacts / f"grid-{screen}.png", full_page=screen == "phone")
            assert service.hub("attic").subscribers == 1, "its tile waits"
            await page.locator('[data-camera="yard"]').click()
            await wait_for_state(page, "frozen")
            await expect(page.locator("#damaged")).to_be_hidden()
            assert await page.inner_text("#camera-name") == "yard"
            await until(lambda: service.hub("door").subscribers == service.hub("attic").subscribers == 0)
            assert complaints.errors == []


async def test_the_grid_can_be_used_with_the_keyboard_alone(browser: Browser) -> None:
    service = make_service("a", "b", "c")
    async with serving(create_app(service)) as (_, address), publishing(service, "a", "b", "c"):
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(address)
        await wait_for_state(page, "live")
        await page.keyboard.press("g")
        await expect(page.locator('[data-camera="a"]')).to_be_focused()
        for key, name in (
            *(("ArrowRight", "b"), ("ArrowLeft", "a"), ("ArrowDown", "c"), ("ArrowUp", "a")),
            *(("End", "c"), ("ArrowRight", "c"), ("Home", "a"), ("ArrowRight", "b")),
        ):
            await page.keyboard.press(key)
            await expect(page.locator(f'[data-camera="{name}"]')).to_be_focused()
        await page.keyboard.press("Enter")
        await wait_for_state(page, "live")
        assert await page.inner_text("#camera-name") == "b"
        assert page.url.endswith("#b")
        await page.keyboard.press("g")
        await expect(page.locator('[data-camera="b"]')).to_be_focused()
        assert page.url.endswith("#/grid")
        await page.reload()
        await expect(page.locator("#stage")).to_be_hidden()
        await expect(page.locator(".card")).to_have_count(3)


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_damaged_picture_is_shown_and_said_to_be(
    browser: Browser, artifacts: Path, screen: str
) -> None:
    service = make_service("yard")
    service.cameras["yard"].statistics.up(True)
    flagged = publishing(service, "yard", change=lambda frame: replace(frame, flags=(DAMAGED,)))
    async with serving(create_app(service)) as (_, address):
        page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
        await page.goto(address)
        async with flagged:
            await wait_for_state(page, "live")
            await expect(page.locator("#damaged")).to_be_visible()
            assert await fits_width(page)
            await page.screenshot(path=artifacts / f"damaged-{screen}.png")
        async with publishing(service, "yard"):
            await expect(page.locator("#damaged")).to_be_hidden()
