"""An RTSP server on loopback, run by the system's Python, which has the GStreamer bindings.

Usage: /usr/bin/python3 gst_rtsp_server.py SPEC.json

SPEC is {"port": 0, "certificate": null, "mounts": [{"path", "media", "codec", "fps", "width", "height",
"protocols", "user", "password", "auth", "mtu", "config_interval"}]}. `media` is a file of length-prefixed access
units (4 bytes, big-endian, then the bytes), or "audio" for a mount without any picture; `certificate` is a PEM file
with a key, for RTSP over TLS. Prints {"port": P, "t0_s": T} on one line when it listens. Like a camera, it plays the
clip in a loop on its own clock: access unit i of a mount is sent at T + i / fps, whether or not anybody
watches. A line {"path", "media", "gop"} on its standard input has a mount go on with other access units, without a
pause, at the next i that is a multiple of gop. Ends when its standard input is closed, so it never outlives the test.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

AUTH = {"basic": GstRtsp.RTSPAuthMethod.BASIC, "digest": GstRtsp.RTSPAuthMethod.DIGEST}
PROTOCOLS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "any": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}
PAYLOAD = {
    "h264": "caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval={config_interval} mtu={mtu}",
    "h265": "caps=video/x-h265,stream-format=byte-stream,alignment=au,framerate={fps}/1"
    " ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
    "mjpeg": "caps=image/jpeg,width={width},height={height},framerate={fps}/1 ! rtpjpegpay name=pay0 pt=26",
}
AUDIO = "( audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay0 pt=8 )"


def read_access_units(path: str) -> list[bytes]:
    """The access units of a file of 4-byte big-endian lengths and bytes."""
    data, units, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        units.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return units


class ClipFactory(GstRtspServer.RTSPMediaFactory):
    """A shared mount that loops a clip for ever, on the clock of the server."""

    def __init__(self, mount: dict[str, Any], t0_s: float) -> None:
        super().__init__()
        self._units = read_access_units(mount["media"])
        self._next: tuple[list[bytes], int] | None = None
        self._fps, self._t0_s = mount["fps"], t0_s
        payload = PAYLOAD[mount["codec"].partition("-")[0]].format(**mount)
        self.set_launch(
            f"( appsrc name=clip is-live=true do-timestamp=true format=time block=false {payload} )"
        )
        self.connect("media-configure", self._configure)

    def switch(self, media: str, gop: int) -> None:
        """Go on with other access units, which have a key frame every `gop`."""
        self._next = (read_access_units(media), gop)

    def _configure(self, _factory: object, media: Any) -> None:
        stop = threading.Event()
        media.connect("unprepared", lambda _media: stop.set())
        source = media.get_element().get_by_name("clip")
        threading.Thread(target=self._push, args=(source, stop), daemon=True).start()

    def _push(self, source: Any, stop: threading.Event) -> None:
        index = int((time.time() - self._t0_s) * self._fps) + 1
        while not stop.wait(max(0.0, self._t0_s + index / self._fps - time.time())):
            # Before the pipeline has its base time, a buffer would be stamped with the time since the machine
            # started, and the sink would wait as long before it sends it.
            if self._next is not None and index % self._next[1] == 0:
                self._units, self._next = self._next[0], None
            if source.get_base_time() != 0:
                buffer = Gst.Buffer.new_wrapped(self._units[index % len(self._units)])
                if source.emit("push-buffer", buffer) == Gst.FlowReturn.EOS:
                    return
            index += 1


def protect(auth: Any, factory: Any, mount: dict[str, Any]) -> None:
    """Ask for the mount's user and password, by the one method that it names."""
    auth.set_supported_methods(AUTH[mount["auth"]])
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if mount["auth"] == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(mount["user"], mount["password"]), token)
    else:
        auth.add_digest(mount["user"], mount["password"], token)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", right, True)
    factory.set_permissions(permissions)


def make_factory(mount: dict[str, Any], t0_s: float) -> Any:
    """The media factory of one mount."""
    if mount["media"] != "audio":
        return ClipFactory(mount, t0_s)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(AUDIO)
    return factory


def obey_stdin(loop: Any, factories: dict[str, Any]) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        factories[order["path"]].switch(order["media"], order["gop"])
    loop.quit()


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(spec["port"]))
    # By itself it answers one client at a time, and waits for a camera's first picture meanwhile.
    server.get_thread_pool().set_max_threads(len(spec["mounts"]))
    auth = GstRtspServer.RTSPAuth()
    if spec["certificate"] is not None:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(spec["certificate"]))
    t0_s = time.time()
    factories = {}
    for mount in spec["mounts"]:
        factory = factories[mount["path"]] = make_factory(mount, t0_s)
        factory.set_shared(True)
        factory.set_protocols(PROTOCOLS[mount["protocols"]])
        if mount["user"] is not None:
            protect(auth, factory, mount)
            server.set_auth(auth)
        server.get_mount_points().add_factory(mount["path"], factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {spec['port']}")
    threading.Thread(target=obey_stdin, args=(loop, factories), daemon=True).start()
    print(json.dumps({"port": server.get_bound_port(), "t0_s": t0_s}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
