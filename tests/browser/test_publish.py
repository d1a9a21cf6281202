"""A browser publishes its camera by WHIP, as a page of a few lines does it, and leaves by closing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.async_api import Browser

from stream.app import Service
from stream.server import ServerOptions, create_app
from tests.browser.pages import wait_for_state
from tests.stream.frames import SquareEngine
from tests.stream.published import TOKEN, make_published
from tests.stream.viewer_frames import serving, until

pytestmark = pytest.mark.browser

PUBLISH = """
async (token) => {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: true });
  window.peer = new RTCPeerConnection();
  for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  await peer.setLocalDescription();
  const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` };
  const answer = await fetch("/whip/cam", { method: "POST", headers, body: peer.localDescription.sdp });
  if (answer.status !== 201) throw new Error(await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  return answer.headers.get("Location");
}
"""


async def watched_as_it_is(browser: Browser, address: str, service: Service) -> None:
    """The page shows the published pictures with masks as data, and nothing is encoded for it."""
    page = await browser.new_page()
    await page.goto(address)
    await wait_for_state(page, "live")
    await page.locator("#masks").wait_for(state="visible")
    value = service.registry.get_sample_value
    await until(
        lambda: (value("syncvis_pictures_passed_total", {"camera": "cam", "masks": "own"}) or 0) >= 10
    )
    await page.close()


async def test_a_browser_publishes_its_camera(browser: Browser) -> None:
    service = make_published(read_timeout_s=2)
    assert isinstance(service.engine, SquareEngine)
    windows = service.engine.windows
    app = create_app(service, ServerOptions(publish_tokens=(TOKEN,)))
    async with serving(app) as (_, address), service:
        page = await browser.new_page(permissions=["camera", "microphone"])
        await page.goto(address)
        location = await page.evaluate(PUBLISH, TOKEN)
        assert location.startswith("/whip/cam/sessions/")
        await until(lambda: sum(w.frames[-1].camera == "cam" for w in tuple(windows)) >= 15)
        await watched_as_it_is(browser, address, service)
        await page.close()
        await until(lambda: not service.cameras.doorways["cam"].occupied)
    frames = [w.frames[-1] for w in windows if w.frames[-1].camera == "cam"]
    assert all(one.captured_at_s <= two.captured_at_s for one, two in pairwise(frames))
    assert any((one.image != two.image).any() for one, two in pairwise(frames)), "its picture moves"
