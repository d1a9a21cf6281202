"""The page itself, on a large screen and on a phone: complete, quiet, and usable with the keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser, expect

from stream.server import ServerOptions, create_app
from syncvis_online.colors import hex_color
from tests.browser.pages import Complaints, collect_pictures, wait_for_state
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving

pytestmark = pytest.mark.browser

SCREENS = {
    "desktop": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "light",
    },
}


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_page_shows_picture_figures_and_tracks_and_complains_of_nothing(
    browser: Browser, artifacts: Path, screen: str
) -> None:
    service = make_service("door", "yard")
    async with serving(create_app(service)) as (_, address), publishing(service, "door", "yard"):
        page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
        complaints = Complaints(page)
        await page.goto(address)
        await wait_for_state(page, "live")
        await expect(page.locator("#fps")).to_have_text(re.compile(r"^[1-9]"), timeout=30_000)
        await page.wait_for_selector(".track:nth-child(2)")
        await page.wait_for_selector(".card:nth-child(2)")
        swatches = await page.eval_on_selector_all(".track", "all => all.map(row => row.dataset.id)")
        assert swatches == ["1", "2"]
        colors = await page.eval_on_selector_all(
            ".swatch", "all => all.map(swatch => getComputedStyle(swatch).color)"
        )
        assert colors == [css_color(1), css_color(2)]
        assert await fits_width(page)
        assert (await collect_pictures(page, 1))[0].shape == (*SIZE, 3)
        await page.screenshot(path=artifacts / f"page-{screen}.png", full_page=screen == "phone")
        assert complaints.errors == []
        assert complaints.hosts == {address.removeprefix("http://")}


def css_color(track_id: int) -> str:
    """An identity's colour as a browser writes it."""
    text = hex_color(track_id)
    return f"rgb({int(text[1:3], 16)}, {int(text[3:5], 16)}, {int(text[5:7], 16)})"


async def fits_width(page: object) -> bool:
    """Whether nothing makes the page wider than the screen."""
    script = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(await page.evaluate(script))  # type: ignore[attr-defined]


async def test_the_page_can_be_used_with_the_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    service = make_service("door", "yard")
    async with serving(create_app(service)) as (_, address), publishing(service, "door", "yard"):
        page = await browser.new_page()
        await page.goto(address)
        await wait_for_state(page, "live")
        assert await page.inner_text("#camera-name") == "door"
        await page.keyboard.press("ArrowRight")
        assert await page.inner_text("#camera-name") == "yard"
        await wait_for_state(page, "live")
        async with page.expect_download() as download:
            await page.keyboard.press("s")
        saved = tmp_path / "snapshot.jpg"
        await (await download.value).save_as(saved)
        height, width, _ = np.asarray(cv2.imread(str(saved))).shape
        assert (height % SIZE[0], width % SIZE[1], height * SIZE[1]) == (0, 0, width * SIZE[0])
        theme = await page.evaluate("getComputedStyle(document.documentElement).colorScheme")
        await page.keyboard.press("t")
        assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") != theme
        names = await page.eval_on_selector_all(
            "button",
            "all => all.map(button => button.getAttribute('aria-label') ?? button.textContent.trim())",
        )
        assert all(names), "a button without a name"


async def test_a_camera_without_a_picture_is_waited_for_and_then_shown(browser: Browser) -> None:
    service = make_service()
    async with serving(create_app(service)) as (_, address):
        page = await browser.new_page()
        await page.goto(address)
        await page.get_by_text("Waiting for the camera").wait_for()
        async with publishing(service):
            await wait_for_state(page, "live")


async def test_a_picture_that_stands_still_is_said_to_be_stale_or_away(browser: Browser) -> None:
    service = make_service()
    async with serving(create_app(service)) as (_, address):
        page = await browser.new_page()
        await page.goto(address)
        async with publishing(service):
            await wait_for_state(page, "live")
        await page.wait_for_selector('#stage:not([data-state="live"])')
        assert await page.is_visible("#veil-title")


async def test_a_server_with_tokens_asks_for_one_and_remembers_it(browser: Browser, artifacts: Path) -> None:
    token = "0123456789abcdef-of-the-test"
    service = make_service("door")
    app = create_app(service, ServerOptions(tokens=(token,)))
    async with serving(app) as (_, address), publishing(service, "door"):
        context = await browser.new_context(**SCREENS["desktop"])  # type: ignore[arg-type]
        page = await context.new_page()
        await page.goto(address)
        await expect(page.locator("#sign-in")).to_be_visible()
        await expect(page.locator("#health-text")).to_have_text("Token needed")
        await page.screenshot(path=artifacts / "page-sign-in.png")
        await page.keyboard.type("first a wrong one, with s, f and t in it")
        await page.keyboard.press("Enter")
        await expect(page.locator("#sign-in [role=alert]")).to_have_text(re.compile("does not know"))
        await page.keyboard.type(token)
        await page.keyboard.press("Enter")
        await wait_for_state(page, "live")
        await expect(page.locator("#sign-in")).to_be_hidden()
        await page.wait_for_selector(".track:nth-child(2)")
        again = await context.new_page()
        await again.goto(address)
        await wait_for_state(again, "live")
        await expect(again.locator("#sign-in")).to_be_hidden()


async def test_a_slow_camera_is_not_taken_for_a_broken_one(browser: Browser) -> None:
    """When the newest frame is stale follows from how often frames come; one long pause makes nothing slow."""
    service = make_service("door")
    async with serving(create_app(service)) as (_, address):
        page = await browser.new_page()
        await page.goto(address)
        limits = await page.evaluate(
            """async () => {
              const { Pace } = await import("/static/picture_state.js");
              const after = (...gaps) => {
                const pace = new Pace();
                let now = 0;
                for (const gap of [0, ...gaps]) pace.add((now += gap));
                return pace.staleMs;
              };
              const times = (count, gap) => Array(count).fill(gap);
              const pause = [...times(50, 40), 600000, ...times(20, 40)];
              return [after(...times(50, 40)), after(...times(40, 4000)), after(...pause)];
            }"""
        )
        quick, slow, after_a_pause = limits
        assert quick == after_a_pause == 2500
        assert 8000 < slow <= 12000
