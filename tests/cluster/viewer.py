"""Somebody who looks at a camera on a gateway's page, in a real browser, and how long its picture stood still."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from playwright.async_api import Page

from tests.browser.pages import wait_for_state
from tests.support.chromium import launched

_RECORD = """() => {
  window.shown = [];
  const canvas = document.querySelector("#stage canvas"), video = document.querySelector("#stage video");
  const note = () => window.shown.push(Date.now() / 1000);
  canvas.addEventListener("drawn", note);
  const each = () => { note(); video.requestVideoFrameCallback(each); };
  video.requestVideoFrameCallback(each);
}"""
READY_WITHIN_S = 120.0


class Viewer:
    """`page`: shows the camera, live."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def back_within_s(self, since_s: float) -> float:
        """Wait until it is live; the longest that no picture was shown since then, in seconds (wall clock)."""
        await wait_for_state(self._page, "live", READY_WITHIN_S)
        shown = await self._page.evaluate("window.shown")
        times = [each for each in shown if each > since_s - 2.0] + [time.time()]
        return max((b - a for a, b in pairwise(times)), default=0.0)


@asynccontextmanager
async def looking(address: str, camera: str) -> AsyncIterator[Viewer]:
    """Look at a camera while inside."""
    async with launched() as browser:
        page = await browser.new_page(viewport={"width": 900, "height": 600})
        await page.goto(f"{address}/#{camera}")
        await wait_for_state(page, "live", READY_WITHIN_S)
        await page.evaluate(_RECORD)
        yield Viewer(page)
