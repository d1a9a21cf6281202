"""Masks as data: what Chromium draws lies on the very picture that it was made of.

A GStreamer RTSP server sends pictures that carry their number; an engine answers with a mask that says the same number;
the page draws both, and what is read from its canvas must agree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from stream.app import Service
from stream.config import parse_config
from stream.server import create_app
from tests.browser.pages import Complaints, wait_for_state
from tests.stream.viewer_frames import serving, until
from tests.support.numbered import BITS, ROW, NumberEngine
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = [pytest.mark.browser, pytest.mark.integration]

PICTURES = 200

READ = """
async ([count, bits, row]) => {
  const canvas = document.getElementById("masks");
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const numbers = [];
  await new Promise((resolve) => {
    const take = () => {
      const { width, height } = canvas;
      Object.assign(copy.canvas, { width, height });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      const side = Math.floor(width / bits);
      const square = (column, line) => {
        let [luma, chroma] = [0, 0];
        for (let y = 0; y < side / 2; y += 1) {
          for (let x = 0; x < side / 2; x += 1) {
            const at = 4 * (width * Math.floor(line * side + side / 4 + y) + Math.floor(column * side + side / 4 + x));
            const [red, green, blue] = data.subarray(at, at + 3);
            luma += (red + green + blue) / 3;
            chroma += Math.max(red, green, blue) - Math.min(red, green, blue);
          }
        }
        const pixels = Math.ceil(side / 2) ** 2;
        return [luma / pixels, chroma / pixels];
      };
      let [picture, mask] = [0, 0];
      for (let bit = 0; bit < bits; bit += 1) {
        if (square(bit, 0)[0] > 128) picture |= 1 << bit;
        if (square(bit, row)[1] > 40) mask |= 1 << bit;
      }
      numbers.push([picture, mask]);
      if (numbers.length < count) return;
      canvas.removeEventListener("drawn", take);
      resolve();
    };
    canvas.addEventListener("drawn", take);
  });
  return numbers;
}
"""


SHOW_MORE = """
(count) => new Promise((resolve) => {
  const video = document.getElementById("video");
  let shown = 0;
  const next = () => (++shown < count ? video.requestVideoFrameCallback(next) : resolve(shown));
  video.requestVideoFrameCallback(next);
})
"""


@asynccontextmanager
async def drawn_here(
    browser: Browser, url: str, engine: NumberEngine
) -> AsyncIterator[tuple[Page, Service, Complaints]]:
    """The page of a camera, with masks drawn by the browser."""
    config = parse_config({"cameras": {"cam": {"url": url}}, "state_dir": None}, "test")
    async with Service(config, engine) as service, serving(create_app(service)) as (_, address):
        await until(lambda: service.hub("cam").latest is not None)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        complaints = Complaints(page)
        await page.goto(address)
        await wait_for_state(page, "live")
        yield page, service, complaints


@pytest.mark.parametrize(
    ("codec", "count", "passed"),
    [("h264-baseline", PICTURES, True), ("h264-main", 25, True), ("h264-b", 50, False)],
)
async def test_no_mask_is_drawn_on_another_frame_s_picture(
    browser: Browser, rtsp_server: RtspServer, artifacts: Path, codec: str, count: int, passed: bool
) -> None:
    url = rtsp_server.serve_clip(index_frames(240), gop=25, codec=codec)
    async with drawn_here(browser, url, NumberEngine(fails_every=9)) as (page, service, complaints):
        numbers = await page.evaluate(READ, [count, BITS, ROW])
        await page.screenshot(path=artifacts / f"masks-{codec}.png")
        assert [pair for pair in numbers if pair[0] != pair[1]] == []
        assert len({picture for picture, _ in numbers}) > count / 2, "the pictures go on"
        value = service.registry.get_sample_value
        own = value("syncvis_pictures_passed_total", {"camera": "cam", "masks": "own"}) or 0
        assert (own >= count) == passed
        # The session of the overlay may have ended before the page asks for that.
        assert [error for error in complaints.errors if "404" not in error] == []


async def test_while_the_model_says_nothing_the_bare_video_is_shown(
    browser: Browser, rtsp_server: RtspServer
) -> None:
    url = rtsp_server.serve_clip(index_frames(50), codec="h264-baseline")
    engine = NumberEngine()
    async with drawn_here(browser, url, engine) as (page, service, _):
        canvas = page.locator("#masks")
        await canvas.wait_for(state="visible")
        engine.go_on.clear()
        try:
            await canvas.wait_for(state="hidden")
            shown = await page.evaluate(SHOW_MORE, 5)
        finally:
            engine.go_on.set()
        assert shown == 5
        await canvas.wait_for(state="visible")
        assert await page.locator("#notice").is_hidden(), "the server was not asked to draw them instead"
        late = {"camera": "cam", "masks": "late"}
        assert service.registry.get_sample_value("syncvis_pictures_passed_total", late)
