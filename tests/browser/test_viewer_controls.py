"""What the page draws is what its switches say, read from its canvas; an object that is chosen is followed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser, Page, expect

from stream.app import Service
from stream.config import parse_config
from stream.server import create_app
from stream.types import TrackedFrame
from tests.browser.pages import Complaints, wait_for_state
from tests.browser.test_viewer_page import SCREENS
from tests.stream.frames import SquareEngine
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving

pytestmark = pytest.mark.browser

# Of the car, which stands still, on a grey picture: pixels of the frame.
INSIDE = (230, 100)
CORNER = (280.5, 130.5)
"""Of its box; its mask is round."""
TAG = (183, 66)
AWAY = (20, 180)
"""Nothing is there."""
DOG_S_WAY = (90, 80)

CHROMA = """
([[x, y], least, most]) => {
  const canvas = document.getElementById("masks");
  if (canvas.hidden) return false;
  const finer = canvas.width / %d;
  const around = [Math.floor((x - 1) * finer), Math.floor((y - 1) * finer), 2 * finer, 2 * finer];
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, ...around, 0, 0, 2 * finer, 2 * finer);
  const { data } = copy.getImageData(0, 0, 2 * finer, 2 * finer);
  let chroma = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue] = data.subarray(i, i + 3);
    chroma = Math.max(chroma, Math.max(red, green, blue) - Math.min(red, green, blue));
  }
  return least <= chroma && chroma <= most;
}
""" % SIZE[1]  # noqa: UP031  # braces are JavaScript's


def dog_and_car(frame: TrackedFrame) -> TrackedFrame:
    """Both as they are, the second a car of which the model is not sure."""
    dog, car = frame.tracks
    stages_s = {"receive": 0.012, "queue": 0.005, "encode": 0.021, "decode": 0.0084}
    return replace(frame, tracks=(dog, replace(car, label="car", score=0.25)), stages_s=stages_s)


@asynccontextmanager
async def watched(browser: Browser, screen: str = "desktop") -> AsyncIterator[tuple[Page, Service]]:
    """The page of one camera that shows a dog and a car."""
    service = make_service("door")
    async with (
        serving(create_app(service)) as (_, address),
        publishing(service, "door", change=dog_and_car),
    ):
        page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
        complaints = Complaints(page)
        await page.goto(address)
        await wait_for_state(page, "live")
        await page.wait_for_selector('#stage[data-mode="data"]')
        yield page, service
        assert complaints.errors == []


async def is_coloured(page: Page, at: tuple[float, float], coloured: bool = True) -> None:
    """Wait until the canvas has a colour at a place of the picture, or has none."""
    await page.wait_for_function(CHROMA, arg=[at, 60 if coloured else 0, 255 if coloured else 25])


async def click_at(page: Page, at: tuple[float, float]) -> None:
    """Click a place of the picture."""
    box = await page.locator("#masks").bounding_box()
    assert box is not None
    await page.mouse.click(
        box["x"] + box["width"] * at[0] / SIZE[1], box["y"] + box["height"] * at[1] / SIZE[0]
    )


async def snapshot_is_coloured(page: Page, at: tuple[float, float]) -> bool:
    """Whether a snapshot that is saved now has a colour at a place of the picture."""
    async with page.expect_download() as download:
        await page.click("#snapshot")
    image = cv2.imread(str(await (await download.value).path()))
    assert image is not None
    finer = image.shape[1] / SIZE[1]
    x, y = (round(finer * place) for place in at)
    return int(np.ptp(image[y - 1 : y + 1, x - 1 : x + 1].astype(int), axis=2).max()) >= 60


async def test_masks_boxes_labels_and_trails_come_and_go(browser: Browser, artifacts: Path) -> None:
    async with watched(browser) as (page, _):
        await is_coloured(page, INSIDE)
        await is_coloured(page, TAG)
        await is_coloured(page, CORNER, False)
        await page.click("text=Boxes")
        await is_coloured(page, CORNER)
        await page.keyboard.press("l")
        await is_coloured(page, TAG, False)
        await page.click("text=Masks")
        await is_coloured(page, INSIDE, False)
        await page.keyboard.press("b")
        await is_coloured(page, CORNER, False)
        await is_coloured(page, DOG_S_WAY, False)
        await page.click("text=Trails")
        await is_coloured(page, DOG_S_WAY)
        await page.screenshot(path=artifacts / "controls-trails.png")
        await page.reload()
        await wait_for_state(page, "live")
        await is_coloured(page, INSIDE, False)
        assert await page.get_attribute("[data-switch=trails]", "aria-pressed") == "true", "remembered"


async def test_opacity_score_and_class_say_how_and_which(browser: Browser) -> None:
    async with watched(browser) as (page, _):
        await page.click("text=Labels")
        await page.fill("#opacity", "0")
        await is_coloured(page, INSIDE, False)
        await page.fill("#opacity", "0.9")
        await page.wait_for_function(CHROMA, arg=[INSIDE, 120, 255])
        await page.fill("#minScore", "0.5")
        await is_coloured(page, INSIDE, False)
        await expect(page.locator("output[for=minScore]")).to_have_text("≥ 50%")
        await expect(page.locator(".track")).to_have_count(1)
        await expect(page.locator("#objects")).to_have_text("1")
        assert not await snapshot_is_coloured(page, INSIDE), "what is saved is what is seen"
        await page.fill("#minScore", "0")
        await is_coloured(page, INSIDE)
        assert await snapshot_is_coloured(page, INSIDE)
        await page.get_by_role("button", name="car", exact=True).click()
        await is_coloured(page, INSIDE, False)
        await expect(page.locator(".track")).to_have_count(1)
        await is_coloured(page, DOG_S_WAY)
        await page.get_by_role("button", name="car", exact=True).click()
        await is_coloured(page, INSIDE)


@pytest.mark.parametrize("screen", SCREENS)
async def test_an_object_that_is_clicked_is_followed_until_it_is_left(
    browser: Browser, artifacts: Path, screen: str
) -> None:
    async with watched(browser, screen) as (page, _):
        life = page.locator("#life")
        await expect(life).to_be_hidden()
        await click_at(page, INSIDE)
        await expect(life.locator("h2")).to_have_text("car #2")
        await expect(life.locator("[data-part=state]")).to_have_text("In view")
        await expect(life.locator("[data-part=score]")).to_have_text("25%")
        await expect(life.locator("[data-part=first]")).to_have_text(re.compile(r"\d+:\d\d:\d\d"))
        await expect(life.locator("[data-part=duration]")).to_have_text(re.compile(r"^[1-9]\d* s"))
        await expect(life.locator("li[data-event=born]")).to_contain_text("First seen")
        await page.wait_for_function("document.querySelector('[data-part=thumbnail]').height >= 61")
        await expect(page.locator('.track[data-id="2"] button')).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#announce")).to_have_text("Following car #2")
        await page.screenshot(path=artifacts / f"follow-{screen}.png", full_page=screen == "phone")
        await page.locator('.track[data-id="1"] button').press("Enter")
        await expect(life.locator("h2")).to_have_text("dog #1")
        await page.keyboard.press("Escape")
        await expect(life).to_be_hidden()
        await click_at(page, INSIDE)
        await expect(life).to_be_visible()
        await click_at(page, AWAY)
        await expect(life).to_be_hidden()


async def test_zones_and_lines_are_drawn_with_what_was_counted(browser: Browser, artifacts: Path) -> None:
    zone = {"polygon": [[0.5, 0.3], [0.95, 0.3], [0.95, 0.95], [0.5, 0.95]], "settle_s": 0}
    line = {"points": [[0.1, 0.9], [0.4, 0.9]]}
    camera = {"url": "synthetic:1", "zones": {"gate": zone}, "lines": {"kerb": line}}
    service = Service(parse_config({"cameras": {"door": camera}}, "test"), SquareEngine())
    on_the_line, in_a_tag = (60, 173), (165, 62)
    async with (
        serving(create_app(service)) as (_, address),
        publishing(service, "door", change=dog_and_car),
    ):
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.goto(address)
        await wait_for_state(page, "live")
        await is_coloured(page, on_the_line)
        await is_coloured(page, in_a_tag)
        await page.screenshot(path=artifacts / "zones.png")
        await page.keyboard.press("z")
        await is_coloured(page, on_the_line, False)
        await is_coloured(page, in_a_tag, False)


async def test_an_object_that_left_is_said_to_have_left(browser: Browser) -> None:
    service = make_service("door")
    async with serving(create_app(service)) as (_, address):
        page = await browser.new_page()
        async with publishing(service, "door", change=dog_and_car):
            await page.goto(address)
            await wait_for_state(page, "live")
            await page.locator('.track[data-id="2"] button').click()
        async with publishing(service, "door", change=lambda frame: replace(frame, tracks=frame.tracks[:1])):
            await expect(page.locator("#life [data-part=state]")).to_have_text("Not in view")
            await expect(page.locator("#life li[data-event=lost]")).to_contain_text("Lost from view")


async def test_the_latency_is_split_by_stage_as_it_happens(browser: Browser) -> None:
    async with watched(browser) as (page, _):
        rows = page.locator("#stages li:visible")
        await expect(rows.filter(has_text="Backbone")).to_have_text("Backbone21ms")
        await expect(rows.filter(has_text="Decoder")).to_have_text("Decoder8.4ms")
        await expect(rows.filter(has_text="Camera to reader")).to_have_text("Camera to reader12ms")
        await expect(rows.filter(has_text="Blur")).to_have_count(0)
        area = page.locator('#stages path[data-stage="encode"]')
        before = await area.get_attribute("d")
        assert before
        await expect(area).not_to_have_attribute("d", before)
