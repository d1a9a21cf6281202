"""A WHEP client on GStreamer's own WebRTC (webrtcbin, libnice), run by the system's Python.

Usage: /usr/bin/python3 gst_whep_client.py URL PICTURES

Watches until so many H.264 pictures were decoded, ends the session, and prints {"pictures", "width", "height",
"location"} on one line. Exits with 1 and one line on stderr where that fails.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
import urllib.request
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("Nice", "0.1")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC, Nice  # noqa: E402

CAPS = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1"
TIMEOUT_S = 60


class Client:
    """One session, from the offer to the last picture."""

    def __init__(self, url: str, wanted: int) -> None:
        self.url, self.wanted = url, wanted
        self.headers: dict[str, str] = {}
        self.pictures = self.width = self.height = 0
        self.location = self.error = ""
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new("whep")
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        if self.webrtc is None:
            raise SystemExit("webrtcbin is not installed (gstreamer1.0-plugins-bad)")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.ice = self.webrtc.get_property("ice-agent")  # kept: the bindings give it back once too often
        self.agent = self.ice.get_property("agent")
        self.loopback = Nice.Address.new()  # libnice leaves loopback out by itself
        self.loopback.set_from_string("127.0.0.1")
        self.agent.add_local_address(self.loopback)
        self.add_media()
        self.webrtc.connect("on-negotiation-needed", self.negotiate)
        self.webrtc.connect("notify::ice-gathering-state", self.gathered)
        self.webrtc.connect("pad-added", self.show)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.failed)

    def add_media(self) -> None:
        """Say what is wanted: one video."""
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        self.webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(CAPS))

    def run(self) -> None:
        """Watch; returns when it is over."""
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add_seconds(TIMEOUT_S, self.end, f"only {self.pictures} pictures in {TIMEOUT_S} s")
        self.loop.run()
        if self.location and not self.error:
            request = urllib.request.Request(self.location, headers=self.headers, method="DELETE")
            urllib.request.urlopen(request, timeout=10).close()
        self.pipeline.set_state(Gst.State.NULL)

    def end(self, error: str = "") -> bool:
        """Stop watching, with an error or without."""
        self.error = error
        self.loop.quit()
        return False

    def failed(self, _bus: Any, message: Any) -> None:
        """Some element of the pipeline gave up."""
        self.end(str(message.parse_error()[0].message))

    def negotiate(self, element: Any) -> None:
        """Make an offer; ICE candidates are gathered for it."""
        element.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))

    def offered(self, promise: Any) -> None:
        """The offer is there."""
        reply = promise.get_reply()  # the offer lives in it
        self.webrtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, element: Any, _property: Any) -> None:
        """All candidates are in the offer: send it."""
        if element.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self) -> bool:
        """POST the offer, take the answer."""
        offer = self.webrtc.get_property("local-description").sdp.as_text().encode()
        headers = {"Content-Type": "application/sdp", **self.headers}
        request = urllib.request.Request(self.url, offer, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self.location = urllib.parse.urljoin(self.url, response.headers["Location"])
                answer = response.read()
        except OSError as error:
            return self.end(f"{self.url}: {error}")
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(answer, message)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
        self.webrtc.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def show(self, _element: Any, pad: Any) -> None:
        """Decode what comes."""
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        chain = "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink signal-handoffs=true sync=false"
        decoding = Gst.parse_bin_from_description(chain, True)
        decoding.get_by_name("sink").connect("handoff", self.count)
        self.pipeline.add(decoding)
        decoding.sync_state_with_parent()
        pad.link(decoding.get_static_pad("sink"))

    def count(self, _sink: Any, _buffer: Any, pad: Any) -> None:
        """One more picture was decoded."""
        self.pictures += 1
        if self.pictures == self.wanted:
            structure = pad.get_current_caps().get_structure(0)
            self.width, self.height = structure.get_value("width"), structure.get_value("height")
            GLib.idle_add(self.end)


if __name__ == "__main__":
    Gst.init(None)
    client = Client(sys.argv[1], int(sys.argv[2]))
    client.run()
    figures = {name: getattr(client, name) for name in ("pictures", "width", "height", "location")}
    print(client.error or json.dumps(figures), flush=True, file=sys.stderr if client.error else sys.stdout)
    os._exit(bool(client.error))  # the bindings and libnice both free its agent at an ordinary end
