"""A real headless Chromium that stays on loopback, for tests, trials and benchmarks that look at the page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--autoplay-policy=no-user-gesture-required",
    # A camera that shows a test picture: a page has it once its context is given the permission.
    "--use-fake-device-for-media-stream",
)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Chromium as Debian packages it, until it is left."""
    path = shutil.which("chromium")
    assert path is not None, "Chromium is needed (Debian: apt-get install chromium)"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS])
        yield browser
        await browser.close()
