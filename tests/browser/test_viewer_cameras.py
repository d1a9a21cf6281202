"""Cameras are added and removed from the page with the administrator's token; what is wrong is said there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.pages import Complaints, wait_for_state
from tests.browser.test_viewer_page import SCREENS, fits_width
from tests.stream.running import ADMIN, SYNTHETIC, config_of, running

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("screen", ["phone"])
async def test_a_camera_is_added_watched_and_removed(browser: Browser, artifacts: Path, screen: str) -> None:
    async with running(config_of("door")) as server:
        page = await (await browser.new_context(**SCREENS[screen])).new_page()  # type: ignore[arg-type]
        await page.goto(server.address)
        await wait_for_state(page, "live")
        dialog, wrong = page.locator("#camera-dialog"), page.locator("#camera-dialog [role=alert]")
        await page.click("#camera-add")
        await expect(page.locator("#new-name")).to_be_focused()
        await page.fill("#new-name", "door")
        await page.fill("#new-url", SYNTHETIC)
        await page.fill("#add-token", "not-the-token-of-this-server")
        await page.keyboard.press("Enter")
        await expect(wrong).to_have_text("The server does not know this token.")
        await page.fill("#add-token", ADMIN)
        await page.keyboard.press("Enter")
        await expect(wrong).to_contain_text("door")
        await page.fill("#new-name", "yard")
        await page.fill("#new-url", "nothing://known")
        await page.keyboard.press("Enter")
        await expect(wrong).to_contain_text("cannot be opened")
        assert await fits_width(page)
        await page.screenshot(path=artifacts / f"add-camera-{screen}.png")
        assert server.names == ["door"]
        await page.fill("#new-url", SYNTHETIC)
        await page.click("summary")
        await page.fill("#new-labels", "dog")
        await dialog.get_by_role("button", name="Add").click()
        await expect(dialog).to_be_hidden()
        await expect(page.locator("#camera-name")).to_have_text("yard")
        await wait_for_state(page, "live")
        assert server.names == ["door", "yard"]
        await page.click("#camera-remove")
        await expect(page.locator("#remove-dialog h2")).to_have_text("Remove yard?")
        await page.locator("#remove-dialog").get_by_role("button", name="Cancel").click()
        await expect(page.locator("#camera-remove")).to_be_focused()
        assert server.names == ["door", "yard"]
        await page.click("#camera-remove")
        await page.locator("#remove-dialog").get_by_role("button", name="Remove").click()
        await expect(page.locator("#camera-name")).to_have_text("door")
        await wait_for_state(page, "live")
        assert server.names == ["door"]


async def test_the_token_is_kept_in_the_page_alone(browser: Browser) -> None:
    async with running(config_of("door")) as server:
        page = await browser.new_page()
        complaints = Complaints(page)
        await page.goto(server.address)
        await wait_for_state(page, "live")
        await page.click("#camera-add")
        await page.fill("#new-name", "yard")
        await page.fill("#new-url", SYNTHETIC)
        await page.fill("#add-token", ADMIN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#camera-name")).to_have_text("yard")
        await page.click("#camera-remove")
        await expect(page.locator("#remove-token")).to_have_value(ADMIN)
        kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])"
        assert ADMIN not in await page.evaluate(kept)
        await page.reload()
        await wait_for_state(page, "live")
        await page.click("#camera-remove")
        await expect(page.locator("#remove-token")).to_have_value("")
        # The page asks for the new camera before its first picture; browsers tell every refusal on the console.
        assert [error for error in complaints.errors if "409" not in error] == []


async def test_the_last_camera_can_be_removed_and_another_added(browser: Browser) -> None:
    async with running(config_of("door")) as server:
        page = await browser.new_page()
        await page.goto(server.address)
        await wait_for_state(page, "live")
        await page.click("#camera-remove")
        await page.fill("#remove-token", ADMIN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#veil-title")).to_have_text("There is no camera")
        await expect(page.locator("#camera-remove")).to_be_hidden()
        await page.click("#camera-add")
        await page.fill("#new-name", "yard")
        await page.fill("#new-url", SYNTHETIC)
        await page.keyboard.press("Enter")
        await expect(page.locator("#camera-name")).to_have_text("yard")
        await wait_for_state(page, "live")
