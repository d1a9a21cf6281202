"""What the browser tests do with the viewer's page."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from playwright.async_api import Page

from syncvis_online.types import Image

COLLECT = """
async ([count, every]) => {
  const video = document.getElementById("video");
  const canvas = document.createElement("canvas");
  const pictures = [];
  let shown = 0;
  await new Promise((resolve) => {
    const take = () => {
      if (shown++ % every === 0) {
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0);
        pictures.push(canvas.toDataURL("image/png"));
      }
      if (pictures.length < count) video.requestVideoFrameCallback(take);
      else resolve();
    };
    video.requestVideoFrameCallback(take);
  });
  return pictures;
}
"""


async def collect_pictures(page: Page, count: int, *, every: int = 1) -> list[Image]:
    """Pictures of the page's video as its canvas shows them, (H, W, 3) RGB: one out of `every` shown."""
    pictures = await page.evaluate(COLLECT, [count, every])
    return [decode_picture(picture) for picture in pictures]


def decode_picture(data_url: str) -> Image:
    """A data URL of a PNG as (H, W, 3) RGB."""
    data = np.frombuffer(base64.b64decode(data_url.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


async def wait_for_state(page: Page, state: str, timeout_s: float = 60) -> None:
    """Wait until the page says that the picture is live, stale, connecting or reconnecting."""
    await page.wait_for_selector(f'#stage[data-state="{state}"]', timeout=1000 * timeout_s)


class Complaints:
    """Everything that a page complained about, and every host that it asked for something."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])
