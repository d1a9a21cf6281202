"""A running service, the cameras that nothing is done to (siblings), and those that a fault is done to (victims).

All real: `stream.app.Service` with its HTTP server, GStreamer RTSP servers in processes of their own, FFmpeg in the
service's reader processes. Only the model is none: it answers each picture with the number in it, at no cost.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stream.config import parse_config
from tests.faults.watch import CameraWatch
from tests.stream.running import ADMIN, PUBLISH, Running, running
from tests.support.numbered import BITS, NumberEngine
from tests.support.rtsp_proxy import RtspProxy
from tests.support.rtsp_server import (
    Image,
    Mount,
    RtspServer,
    encode_access_units,
    index_frames,
    write_access_units,
)

NAME_OF_ENGINE = "none (each picture's number is read from it)"
SIBLINGS = 2


@dataclass(frozen=True)
class Clip:
    """What a camera sends: `seconds` of it, over and over (256 pictures: then the last one goes over into the first).
    `still`: one picture all the time.
    """

    width: int = 320
    height: int = 192
    fps: int = 25
    seconds: float = 10.24
    codec: str = "h264"
    gop: int = 25
    still: bool = False

    @property
    def count(self) -> int:
        """Its pictures."""
        return round(self.fps * self.seconds)

    def pictures(self) -> list[Image]:
        """What is on it: numbers, and a texture below them that moves, so that a picture takes several packets."""
        numbered = index_frames(self.count, self.width, self.height)
        texture = np.random.default_rng(7).integers(-20, 20, (self.height, self.width, 1), np.int16)
        texture[: self.width // BITS] = 0
        moved = (np.roll(texture, 5 * index, axis=1) for index in range(self.count))
        return [
            (image + noise).clip(0, 255).astype(np.uint8)
            for image, noise in zip(numbered, moved, strict=True)
        ]

    def write(self, folder: Path) -> Path:
        """The clip as a file of access units; made once."""
        path = folder / (
            f"{self.codec}-{self.width}x{self.height}-{self.fps}-{self.seconds}-{self.gop}-{self.still}.units"
        )
        if not path.exists():
            pictures = [self.pictures()[0]] * self.count if self.still else self.pictures()
            units = encode_access_units(pictures, fps=self.fps, gop=self.gop, codec=self.codec)
            write_access_units(path, units)
        return path


@dataclass
class Victim:
    """One RTSP server behind a proxy, and the cameras of the service at it (one, but for faults of many)."""

    server: RtspServer
    proxy: RtspProxy
    watches: list[CameraWatch]
    clip: Clip
    service: Running
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of its camera, or the first of them."""
        return self.watches[0].name

    def url(self, index: int = 0, host: str = "127.0.0.1") -> str:
        """Of its camera, through the proxy."""
        return self.proxy.through(self.server.url(self.server.mounts[index]), host)

    async def kill_server(self) -> None:
        """As a power cut does."""
        await asyncio.to_thread(self.server.kill)

    async def start_server(self) -> None:
        """On its port, with its mounts."""
        await asyncio.to_thread(self.server.start)

    async def switch(self, clip: Clip) -> None:
        """Send another clip from the next key frame on, without any other sign of it."""
        media = await asyncio.to_thread(clip.write, self.folder)
        self.server.switch(self.server.mounts[0], media, clip.gop)

    async def remount(self, clip: Clip | None = None, **changes: Any) -> None:
        """What the server serves when it is started next."""
        media = await asyncio.to_thread((clip or self.clip).write, self.folder)
        codec = (clip or self.clip).codec
        self.server.mounts[0] = replace(self.server.mounts[0], media=str(media), codec=codec, **changes)

    @property
    def bytes_per_s(self) -> float:
        """What its camera sends, on average."""
        return Path(self.server.mounts[0].media).stat().st_size / self.clip.seconds

    def reader_pid(self) -> int:
        """The process that decodes its camera: the one below this that is connected to its proxy."""
        for process in psutil.Process().children(recursive=True):
            ports = [each.raddr.port for each in process.net_connections("tcp") if each.raddr]
            if self.proxy.port in ports:
                return process.pid
        raise LookupError(f"no process reads {self.name}")


class Stage:
    """What all faults of a run have in common."""

    def __init__(self, service: Running, siblings: list[CameraWatch], folder: Path) -> None:
        self.service, self.siblings, self.folder = service, siblings, folder
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def victim(
        self, clip: Clip, *, cameras: int = 1, host: str = "127.0.0.1", mount: dict[str, Any] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Victim]:  # fmt: skip
        """A server with so many mounts, each a camera of the service; all is gone afterwards."""
        folder = self.folder / f"victim{next(self._numbers)}"
        folder.mkdir()
        names = [f"{folder.name}-{index}" for index in range(cameras)]
        async with AsyncExitStack() as held:
            server = held.enter_context(RtspServer(folder))
            await serve(server, clip, self.folder, cameras, **(mount or {}))
            proxy = await held.enter_async_context(RtspProxy(server.port))
            watches = [watch_of(self.service, name, server, clip) for name in names]
            victim = Victim(server, proxy, watches, clip, self.service, self.folder, settings)
            for index, watch in enumerate(watches):
                held.callback(watch.close)
                answer = await self.service.add(watch.name, victim.url(index, host), **settings)
                assert answer.status_code == 201, answer.text
            try:
                yield victim
            finally:
                for name in names:
                    await self.service.remove(name)


async def serve(server: RtspServer, clip: Clip, folder: Path, mounts: int = 1, **fields: Any) -> None:
    """Start a server with so many mounts of a clip."""
    media = await asyncio.to_thread(clip.write, folder)
    for index in range(mounts):
        server.mounts.append(
            Mount(f"/clip{index}", str(media), clip.codec, clip.fps, clip.width, clip.height, **fields)
        )
    await asyncio.to_thread(server.start)


def watch_of(service: Running, name: str, server: RtspServer, clip: Clip) -> CameraWatch:
    """A watch over a camera at a server."""
    return CameraWatch(service.service, name, began_s=lambda: server.t0_s, fps=clip.fps, count=clip.count)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """A service with its siblings, each at a server of its own."""
    config = parse_config(
        {
            "server": {
                "admin_tokens": [ADMIN],
                "publish_tokens": [PUBLISH],
                "camera_hosts": ["127.0.0.1"],
                "max_cameras": 64,
            }
        },
        "faults",
    )
    async with running(config, engine=NumberEngine()) as service, AsyncExitStack() as held:
        siblings = []
        for index in range(SIBLINGS):
            home = folder / f"sibling{index}"
            home.mkdir()
            server = held.enter_context(RtspServer(home))
            await serve(server, Clip(), folder)
            watch = watch_of(service, f"sibling{index}", server, Clip())
            held.callback(watch.close)
            answer = await service.add(watch.name, server.url(server.mounts[0]))
            assert answer.status_code == 201, answer.text
            siblings.append(watch)
        yield Stage(service, siblings, folder)
