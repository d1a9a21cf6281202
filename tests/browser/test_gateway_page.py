"""The page of a cluster's gateway is that of a single machine; when its camera goes elsewhere, it follows by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from stream.cluster.book import SILENT_S
from tests.browser.pages import collect_pictures, wait_for_state
from tests.stream.cluster.local import LocalWorker, local_cluster
from tests.stream.cluster.test_gateway import added, config_of
from tests.stream.viewer_frames import until

pytestmark = pytest.mark.browser


async def test_the_page_of_a_gateway_follows_its_camera(browser: Browser, artifacts: Path) -> None:
    async with local_cluster(config_of(), workers=3) as cluster:
        await added(cluster, "door", "yard")
        page = await browser.new_page(viewport={"width": 1200, "height": 700})
        async with cluster.beating():
            await page.goto(f"{cluster.address}/")
            await wait_for_state(page, "live")
            await page.screenshot(path=artifacts / "gateway.png")
            first = cluster.owner("door")
            assert first is not None
            await until(lambda: watched(first))
            cluster.book.drain(first.name)
            await until(lambda: (owner := cluster.owner("door")) not in (None, first) and watched(owner))
            await wait_for_state(page, "live")
            (picture,) = await collect_pictures(page, 1)
            assert picture.std() > 5, "no picture of one colour"
            await page.screenshot(path=artifacts / "gateway-moved.png")
        lost = cluster.owner("door")
        assert lost is not None
        lost.silent = True
        while cluster.owner("door") in (None, lost):
            cluster.ahead_s += SILENT_S / 2
            lost.offset_s += SILENT_S / 2
            await cluster.beat()
        assert watched(lost), "it is cut off, and sends its pictures still"
        async with cluster.beating():
            await until(lambda: watched(cluster.owner("door")))
            await until(lambda: not watched(lost))
            await wait_for_state(page, "live")


def watched(worker: LocalWorker | None) -> bool:
    """Whether somebody watches the camera at a worker, over WebRTC."""
    assert worker is not None
    return bool(worker.service.registry.get_sample_value("syncvis_viewers", {"camera": "door"}))
