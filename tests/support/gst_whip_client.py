"""A WHIP client on GStreamer's own WebRTC (webrtcbin, libnice), run by the system's Python.

Usage: /usr/bin/python3 gst_whip_client.py URL TOKEN

Publishes GStreamer's test picture, 320x192 H.264, until its stdin ends; then it ends the session. Prints the session's
address once it publishes. (`whipsink` and `whipclientsink` do the same; Debian 12 has neither.)
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gst_whep_client import CAPS, Client, GLib, Gst, GstWebRTC

PICTURE = "video/x-raw,format=I420,width=320,height=192,framerate=25/1"
CHAIN = (
    f"videotestsrc is-live=true pattern=ball ! {PICTURE} ! x264enc tune=zerolatency speed-preset=ultrafast ! "
    f'video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 ! capsfilter caps="{CAPS}"'
)
DAY_S = 86_400


class Publisher(Client):
    """One session, until stdin ends."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, DAY_S)
        self.headers = {"Authorization": f"Bearer {token}"}

    def add_media(self) -> None:
        """The test picture."""
        coding = Gst.parse_bin_from_description(CHAIN, True)
        self.pipeline.add(coding)
        coding.link(self.webrtc)
        for transceiver in self.transceivers():
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)

    def transceivers(self) -> list[Any]:
        """All there are."""
        found = []
        while (one := self.webrtc.emit("get-transceiver", len(found))) is not None:
            found.append(one)
        return found

    def post(self) -> bool:
        """POST the offer, take the answer, and say so."""
        again = super().post()
        if self.location:
            print(self.location, flush=True)
            GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, self.left)
        return again

    def left(self, *_: Any) -> bool:
        """Nobody wants it any more."""
        return self.end()


if __name__ == "__main__":
    Gst.init(None)
    client = Publisher(sys.argv[1], sys.argv[2])
    client.run()
    if client.error:
        print(client.error, file=sys.stderr, flush=True)
    os._exit(bool(client.error))  # the bindings and libnice both free its agent at an ordinary end
