"""One Chromium for all tests of a process, and where its screenshots go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.chromium import launched
from tests.support.rtsp_server import RtspServer

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "browser"

PATIENCE_MS = 30_000
"""How long a page may take to be as it is expected to be, on a busy machine; Playwright waits as long for all else."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests share one event loop: what speaks to Chromium belongs to the loop that started it."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The one that all tests of this process share."""
    expect.set_options(timeout=PATIENCE_MS)
    async with launched() as browser:
        yield browser


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
