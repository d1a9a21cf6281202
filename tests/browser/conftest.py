"""A real headless Chromium that stays on loopback, one for all tests of a process, and where its screenshots go."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.support.rtsp_server import RtspServer

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "browser"

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--autoplay-policy=no-user-gesture-required",
    # A camera that shows a test picture: a page has it once its context is given the permission.
    "--use-fake-device-for-media-stream",
)

PATIENCE_MS = 30_000
"""How long a page may take to be as it is expected to be, on a busy machine; Playwright waits as long for all else."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests share one event loop: what speaks to Chromium belongs to the loop that started it."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Chromium as Debian packages it."""
    path = shutil.which("chromium")
    assert path is not None, "Chromium is needed (Debian: apt-get install chromium)"
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Chromium with no page and no profile of an earlier test: each page or context that is made is a fresh one, and
    ends with the test.
    """
    assert not chromium.contexts
    yield chromium
    for context in chromium.contexts:
        await context.close()


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
