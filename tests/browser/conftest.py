"""A real headless Chromium that stays on loopback, and where its screenshots go."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.support.rtsp_server import RtspServer

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "browser"

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--autoplay-policy=no-user-gesture-required",
)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """Chromium with more flags."""
    path = shutil.which("chromium")
    assert path is not None, "Chromium is needed (Debian: apt-get install chromium)"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, *flags])
        yield browser
        await browser.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium as Debian packages it; a fresh profile for each test."""
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def browser_with_camera() -> AsyncIterator[Browser]:
    """The same with a camera, which shows a test picture."""
    async with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as browser:
        yield browser


@pytest.fixture
def rtsp_server(tmp_path: Path) -> Iterator[RtspServer]:
    """A real RTSP server on loopback; it starts with the first clip that it is given."""
    with RtspServer(tmp_path) as server:
        yield server


@pytest.fixture
def artifacts() -> Path:
    """Where pictures are kept for whoever reads the results."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    return ARTIFACTS
