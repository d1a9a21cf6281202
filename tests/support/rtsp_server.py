"""Serve clips over RTSP from a real GStreamer server, a child process of the test.

Owns encoding a clip to access units, the server's process, and killing and restarting it on its port. Frames
loop in order for ever, so a test can match a picture to its index. Knows nothing about the code under test.

    with RtspServer(tmp_path) as server:
        url = server.serve_clip(frames, fps=25, gop=25)    # rtsp://127.0.0.1:PORT/clip0
        server.kill(); server.start()                      # the same port and mounts
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
PACKAGES = "python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-{base,good,bad}"
START_TIMEOUT_S = 30.0
ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": (
        "libx264",
        "yuv420p",
        {"preset": "veryfast", "tune": "zerolatency", "crf": "20", "x264-params": "keyint={gop}:scenecut=0"},
    ),
    "h264-b": (
        "libx264",
        "yuv420p",
        {"preset": "veryfast", "bf": "2", "x264-params": "keyint={gop}:scenecut=0:b-adapt=0"},
    ),
    "h264-slices": (
        "libx264",
        "yuv420p",
        {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": "20",
            "x264-params": "keyint={gop}:scenecut=0:slices=4",
        },
    ),
    "h264-high": (
        "libx264",
        "yuv420p",
        {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "high",
            "x264-params": "keyint={gop}:scenecut=0:8x8dct=1",
        },
    ),
    "h264-main": (
        "libx264",
        "yuv420p",
        {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "main",
            "x264-params": "keyint={gop}:scenecut=0",
        },
    ),
    "h264-baseline": (
        "libx264",
        "yuv420p",
        {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "x264-params": "keyint={gop}:scenecut=0",
        },
    ),
    "h265": (
        "libx265",
        "yuv420p",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "x265-params": "keyint={gop}:scenecut=0:log-level=none:pools=1:frame-threads=1",
        },
    ),
    "mjpeg": ("mjpeg", "yuvj420p", {"huffman": "default", "q": "3"}),
}
"""Codec -> (encoder, pixel format, options) with which a clip is encoded as a camera does. What follows a
dash says how: with B-frames, or in another profile."""


@dataclass(frozen=True)
class Mount:
    """One path of the server; `media` is a file of access units, or "audio"."""

    path: str
    media: str
    codec: str = "h264"
    fps: int = 25
    width: int = 0
    height: int = 0
    protocols: str = "any"
    user: str | None = None
    password: str | None = None
    auth: str = "digest"
    mtu: int = 1400
    """Bytes of the largest RTP packet, of H.264."""
    config_interval: int = -1
    """-1: the server repeats H.264's parameter sets before every slice of an IDR picture; 0: it does not."""


def index_frames(count: int, width: int = 320, height: int = 192) -> list[Image]:
    """Pictures (H, W, 3) uint8 that carry their index, 0 to `count` - 1, in a row of 12 black or white
    squares."""
    side = width // 12
    ramp = np.linspace(60, 180, width, dtype=np.uint8)
    frames = []
    for index in range(count):
        image = np.repeat(np.roll(ramp, 5 * index)[None, :, None], height, axis=0).repeat(3, axis=2)
        for bit in range(12):
            image[:side, bit * side : (bit + 1) * side] = 235 if index >> bit & 1 else 16
        frames.append(image)
    return frames


def read_index(image: Image) -> int:
    """The index that `index_frames` drew into a picture, after any codec."""
    side = image.shape[1] // 12
    inner = slice(side // 4, side - side // 4)
    squares = [image[inner, bit * side : (bit + 1) * side][:, inner].mean() for bit in range(12)]
    return sum(1 << bit for bit, level in enumerate(squares) if level > 128)


def read_clip(path: Path) -> Iterator[Image]:
    """Every picture of a video file, (H, W, 3) uint8 RGB, in order."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield cast(Image, frame.to_ndarray(format="rgb24"))


def encode_access_units(frames: Iterable[Image], *, fps: int, gop: int, codec: str = "h264") -> list[bytes]:
    """Encode RGB pictures as a camera does: one access unit a picture, no reordering, a key frame every
    `gop`."""
    name, pixels, options = ENCODERS[codec]
    options = {key: value.format(gop=gop) for key, value in options.items()}
    units: list[bytes] = []
    encoder: Any = None
    for index, image in enumerate(frames):
        if encoder is None:
            encoder = cast(Any, av.CodecContext.create(name, "w"))
            encoder.height, encoder.width = image.shape[:2]
            encoder.pix_fmt, encoder.framerate, encoder.options = pixels, fps, options
            encoder.gop_size, encoder.thread_count = gop, 1
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts = index
        units += [bytes(packet) for packet in encoder.encode(picture)]
    if encoder is not None:
        units += [bytes(packet) for packet in encoder.encode(None)]
    return units


def write_access_units(path: Path, units: Iterable[bytes]) -> None:
    """Write access units, each after its length in 4 bytes, big-endian."""
    out = io.BytesIO()
    for unit in units:
        out.write(struct.pack(">I", len(unit)))
        out.write(unit)
    path.write_bytes(out.getvalue())


class RtspServer:
    """A GStreamer RTSP server on a free port of 127.0.0.1. Add mounts with `serve_clip`; it starts by
    itself."""

    def __init__(self, directory: Path, *, certificate: Path | None = None) -> None:
        """`certificate` is a PEM file with certificate and key: all is served over TLS, to users only."""
        self._directory, self._certificate = directory, certificate
        self.mounts: list[Mount] = []
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.t0_s = 0.0
        """Unix time at which access unit 0 was due; unit i of a mount is sent at t0_s + i / fps."""

    def serve_clip(
        self, clip: Path | str | Iterable[Image], *, fps: int = 25, gop: int = 25, codec: str = "h264",
        protocols: str = "any", user: str | None = None, password: str | None = None, auth: str = "digest",
    ) -> str:  # fmt: skip
        """Serve a video file, or RGB pictures, in a loop; give the URL, credentials included.

        Loops in order for ever on a shared mount; a key frame every `gop` pictures and at every start of the
        loop. Credentials hold for the whole server. (Re)starts the server if it runs.
        """
        frames = list(read_clip(Path(clip)) if isinstance(clip, str | Path) else clip)
        media = self._directory / f"clip{len(self.mounts)}.units"
        write_access_units(media, encode_access_units(frames, fps=fps, gop=gop, codec=codec))
        height, width = frames[0].shape[:2]
        mount = Mount(
            f"/clip{len(self.mounts)}",
            str(media),
            codec,
            fps,
            width,
            height,
            protocols,
            user,
            password,
            auth,
        )
        return self.add(mount)

    def serve_audio(self) -> str:
        """Serve a mount that has sound and no picture; give its URL."""
        return self.add(Mount(f"/audio{len(self.mounts)}", "audio"))

    def add(self, mount: Mount) -> str:
        """Add one mount, (re)start the server, and give the mount's URL."""
        self.mounts.append(mount)
        self.stop()
        self.start()
        return self.url(mount)

    def url(self, mount: Mount) -> str:
        """The URL of a mount, with its credentials, percent-encoded."""
        login = f"{quote(mount.user, safe='')}:{quote(mount.password or '', safe='')}@" if mount.user else ""
        scheme = "rtsp" if self._certificate is None else "rtsps"
        return f"{scheme}://{login}127.0.0.1:{self.port}{mount.path}"

    def start(self) -> None:
        """Start, on the port of the last time if there was one; return when it listens."""
        spec = self._directory / "server.json"
        certificate = None if self._certificate is None else str(self._certificate)
        mounts = [asdict(mount) for mount in self.mounts]
        spec.write_text(json.dumps({"port": self.port, "certificate": certificate, "mounts": mounts}))
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SCRIPT), str(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(START_TIMEOUT_S)
            raise RuntimeError(f"the RTSP server ended with {code} before it listened; it needs {PACKAGES}")
        ready = json.loads(line)
        self.port, self.t0_s = ready["port"], ready["t0_s"]

    def kill(self) -> None:
        """End the server at once, as a power cut does; its clients are told nothing but a closed socket."""
        if self._process is not None:
            self._process.kill()
            self._close()

    def switch(self, mount: Mount, media: Path, gop: int) -> None:
        """Have a mount go on with other access units, which have a key frame every `gop`: its clients notice nothing
        but the pictures. When it is started again it has its old ones.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        print(
            json.dumps({"path": mount.path, "media": str(media), "gop": gop}),
            file=self._process.stdin,
            flush=True,
        )

    def send_signal(self, signal_number: int) -> None:
        """Send the server's process a signal, e.g. SIGSTOP: connections stay open, nothing more is sent."""
        if self._process is not None:
            self._process.send_signal(signal_number)

    def stop(self) -> None:
        """End the server; nothing happens if it does not run."""
        self.kill()

    def _close(self) -> None:
        assert self._process is not None
        self._process.wait(START_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
