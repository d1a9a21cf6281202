"""For everybody: names for those who do not see, contrast in both themes, keys, and no motion where none is wanted."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from stream.server import create_app
from tests.browser.pages import wait_for_state
from tests.browser.test_viewer_controls import watched
from tests.stream.viewer_frames import make_service, publishing, serving

pytestmark = pytest.mark.browser

NAMELESS = """
() => [...document.querySelectorAll("button, input, summary, canvas:not([aria-hidden]), video, section, nav, dialog")]
  .filter((each) => {
    const { labels } = each;
    const by = each.getAttribute("aria-labelledby");
    const name = each.getAttribute("aria-label") ?? (by ? document.getElementById(by)?.textContent : null)
      ?? (labels?.length ? labels[0].textContent : each.textContent);
    return !name.trim();
  })
  .map((each) => each.outerHTML.slice(0, 80))
"""

FAINT = """
() => {
  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const rgb = (color) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (color) => {
    const [red, green, blue] = rgb(color).map((value) => channel(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const pairs = [["--text", "--bg"], ["--text", "--panel"], ["--text", "--panel-2"], ["--muted", "--bg"],
    ["--muted", "--panel"], ["--muted", "--panel-2"], ["--on-accent", "--accent"], ["--bad", "--panel"]];
  return pairs.map(([front, back]) => {
    const [one, other] = [luminance(value(front)), luminance(value(back))].sort((a, b) => b - a);
    return [front, back, (one + 0.05) / (other + 0.05)];
  }).filter(([, , ratio]) => ratio < 4.5);
}
"""


async def test_everything_has_a_name_and_what_changes_is_said(browser: Browser) -> None:
    async with watched(browser) as (page, _):
        await page.wait_for_selector(".track:nth-child(2)")
        assert await page.evaluate(NAMELESS) == []
        await expect(page.locator("#announce")).to_have_text("The picture is live")
        await expect(page.locator("#announce")).to_have_attribute("role", "status")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_text_stands_out_in_both_themes(browser: Browser, scheme: str) -> None:
    async with serving(create_app(make_service())) as (_, address):
        page = await (await browser.new_context(color_scheme=scheme)).new_page()  # type: ignore[arg-type]
        await page.goto(address)
        assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme
        assert await page.evaluate(FAINT) == [], "WCAG 2.2, 1.4.3: at least 4.5 to 1"


async def test_tab_leads_to_every_control_and_shows_where_it_is(browser: Browser) -> None:
    service = make_service("door", "yard")
    async with serving(create_app(service)) as (_, address), publishing(service, "door", "yard"):
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(address)
        await wait_for_state(page, "live")
        await page.wait_for_selector(".track:nth-child(2)")
        reached = []
        for _ in range(40):
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate("""() => {
                const { activeElement: at } = document;
                const shown = getComputedStyle(at).outlineStyle !== "none" || at === document.body;
                return [at.id || at.dataset.switch || at.dataset.camera || at.className, shown];
            }""")
            )
        names = {name for name, _ in reached}
        assert {"grid", "camera-add", "theme", "snapshot", "masks", "boxes", "opacity", "minScore"} <= names
        assert {"door", "track-row", "camera-remove"} <= names
        assert "yard" not in names, "the arrow keys lead from tile to tile"
        assert all(shown for _, shown in reached)


async def test_nothing_moves_for_those_who_want_no_motion(browser: Browser) -> None:
    async with serving(create_app(make_service())) as (_, address):
        page = await (await browser.new_context(reduced_motion="reduce")).new_page()
        await page.goto(address)
        await page.get_by_text("Waiting for the camera").wait_for()
        times = "[...document.querySelectorAll('*')].map(each => parseFloat(getComputedStyle(each).animationDuration))"
        assert max(await page.evaluate(times)) < 0.001
