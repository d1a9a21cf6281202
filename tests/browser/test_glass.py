"""Capture to glass, in Chromium: what the page tells of when it showed a picture, against the number burnt into that
picture and the time at which the picture with that number was captured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.async_api import Browser, Page

from stream.app import Service
from stream.server import ServerOptions, create_app
from stream.stamp import read_stamp
from stream.types import TrackedFrame
from stream.webrtc.glass import ShownPicture
from tests.browser.pages import decode_picture, wait_for_state
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving, until

pytestmark = [pytest.mark.browser, pytest.mark.integration]

PICTURES = 40
BESIDES_S = 0.02
"""Half a frame, besides the stated error: what the browser's own two clocks may differ by, and rounding."""

READ = """
async ([count, mode, width, height]) => {
  const [video, masks] = [document.getElementById("video"), document.getElementById("masks")];
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const pictures = [];
  const keep = (image, rtp, atMs) => {
    copy.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0, width, height);
    pictures.push([rtp, (performance.timeOrigin + atMs) / 1000, copy.toDataURL("image/png")]);
  };
  await new Promise((resolve) => {
    const onPicture = (now, { rtpTimestamp, expectedDisplayTime }) => {
      const image = new VideoFrame(video); // the video may have gone on since
      if (image.metadata().rtpTimestamp === rtpTimestamp) keep(image, rtpTimestamp, expectedDisplayTime);
      image.close();
      if (pictures.length < count) video.requestVideoFrameCallback(onPicture);
      else resolve();
    };
    const onDrawn = ({ detail, timeStamp }) => {
      keep(masks, detail.rtp_timestamp, timeStamp);
      if (pictures.length < count) return;
      masks.removeEventListener("drawn", onDrawn);
      resolve();
    };
    if (mode === "overlay") video.requestVideoFrameCallback(onPicture);
    else masks.addEventListener("drawn", onDrawn);
  });
  return pictures;
}
"""


class Seen:
    """When each frame was captured, and what the page told of when it was shown."""

    def __init__(self, service: Service) -> None:
        self.captured_at_s: dict[int, float] = {}
        self.reports: dict[int, ShownPicture] = {}
        self._hub = service.hub("cam")
        self._hub.listen(self._on_frame)

    def listen_to(self, app: Any) -> None:
        """Note what the newest session reports, as well as counting it."""
        session = list(app.state.sessions._sessions.values())[-1]
        count = session.media.glass.on_shown

        def note(shown: ShownPicture) -> None:
            self.reports[shown.rtp_timestamp] = shown
            count(shown)

        session.media.glass.on_shown = note

    def _on_frame(self, frame: TrackedFrame | None) -> None:
        if frame is not None:
            self.captured_at_s[frame.seq] = frame.captured_at_s


async def show(page: Page, address: str, mode: str) -> None:
    await page.goto(address)
    await wait_for_state(page, "live")
    if mode == "overlay":
        await page.click("[data-switch=server]")
    await page.wait_for_selector(f'#stage[data-mode="{mode}"][data-state="live"]')


@pytest.mark.parametrize("mode", ["overlay", "data"])
async def test_what_the_page_reports_is_the_frame_s_own_time(browser: Browser, mode: str) -> None:
    service = make_service()
    seen = Seen(service)
    app = create_app(service, ServerOptions(frame_stamp=True))
    async with serving(app) as (_, address), publishing(service):
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await show(page, address, mode)
        seen.listen_to(app)
        pictures = await page.evaluate(READ, [PICTURES, mode, SIZE[1], SIZE[0]])
        last = max(rtp for rtp, _, _ in pictures)
        await until(lambda: last in seen.reports)
        report = await (await page.request.get(f"{address}/api/cameras/cam")).json()
        metrics = await (await page.request.get(f"{address}/metrics")).text()
        await page.close()
    compared, late_s = compare(pictures, seen)
    errors = [seen.reports[rtp].error_s for rtp, _, _ in pictures if rtp in seen.reports]
    print(
        f"{mode}: {compared} pictures, reported minus read: median {1000 * np.median(late_s):+.2f} ms, "
        f"{1000 * min(late_s):+.2f} to {1000 * max(late_s):+.2f} ms; stated error up to {1000 * max(errors):.2f} ms; "
        f"capture to glass p50 {report['glass_ms']['p50']} ms, p95 {report['glass_ms']['p95']} ms"
    )
    assert compared >= PICTURES / 2
    if mode == "overlay":  # both read the very same time
        assert max(abs(late) for late in late_s) <= max(errors) + BESIDES_S
    else:  # the page waits for its next picture, after the masks were drawn
        assert min(late_s) >= -max(errors) - BESIDES_S
    assert 'syncvis_capture_to_glass_seconds_count{camera="cam"} ' in metrics


def compare(pictures: list[tuple[int, float, str]], seen: Seen) -> tuple[int, list[float]]:
    """How many pictures were reported, and by how much later each than read here, seconds. The frame that each was
    reported to be is the one whose number it carries.
    """
    late_s = []
    for rtp, shown_at_s, data_url in pictures:
        if rtp not in seen.reports:
            continue
        reported, number = seen.reports[rtp], read_stamp(decode_picture(data_url))
        assert number == reported.seq % (1 << 24)
        assert reported.captured_at_s == seen.captured_at_s[reported.seq]
        late_s.append(reported.captured_at_s + reported.latency_s - shown_at_s)
    return len(late_s), late_s
