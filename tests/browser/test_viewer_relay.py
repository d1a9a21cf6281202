"""A viewer that reaches nothing but a TURN server: the page learns of it from the answer, and the picture comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from stream.server import ServerOptions, create_app
from stream.webrtc.ice import IceOptions, TurnServer
from tests.browser.pages import collect_pictures, wait_for_state
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving
from tests.support.turn_server import SECRET, turn_server

pytestmark = pytest.mark.browser

RELAY_ONLY = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceTransportPolicy: "relay" });
    window.peer = this;
  }
};
"""

PAIR = """
async () => {
  const stats = await window.peer.getStats();
  const pair = [...stats.values()].find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  return [stats.get(pair.localCandidateId).candidateType, window.peer.getConfiguration().iceServers[0].username];
}
"""


async def test_a_browser_that_may_use_a_relay_alone_watches_through_coturn(
    browser: Browser, tmp_path: Path
) -> None:
    service = make_service()
    with turn_server(tmp_path) as port:
        turn = TurnServer(f"turn:127.0.0.1:{port}?transport=udp", secret=SECRET)
        options = ServerOptions(ice=IceOptions(turn=turn))
        async with serving(create_app(service, options)) as (_, address), publishing(service):
            page = await browser.new_page()
            await page.add_init_script(RELAY_ONLY)
            await page.goto(address)
            await wait_for_state(page, "live")
            assert (await collect_pictures(page, 2))[-1].shape == (*SIZE, 3)
            kind, username = await page.evaluate(PAIR)
    assert kind == "relay"
    assert username.split(":")[0].isdigit(), "credentials of its own, which end"
