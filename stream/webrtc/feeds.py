"""Each camera's feeds for viewers, made when first asked for and forgotten with the camera."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import cached_property

from stream.pipeline import CameraPipeline
from stream.webrtc.feed import OverlayFeed
from stream.webrtc.passed import PassedFeed


class CameraFeeds:
    """What there is of one camera: its overlay, and what viewers get who draw the masks themselves."""

    def __init__(self, camera: CameraPipeline, executor: Executor, *, stamp: bool) -> None:
        self.camera = camera
        self._executor, self._stamp = executor, stamp

    @cached_property
    def overlay(self) -> OverlayFeed:
        """The picture with the masks drawn into it."""
        return self._drawn(plain=False)

    @cached_property
    def plain(self) -> OverlayFeed:
        """The picture encoded again, with masks beside it."""
        return self._drawn(plain=True)

    @cached_property
    def passed(self) -> PassedFeed:
        """The camera's own encoded pictures, with masks beside them."""
        return PassedFeed(self.camera.hub, self.camera.packets, self.camera.statistics)

    @property
    def viewers(self) -> int:
        """How many watch, in whichever way."""
        return sum(feed.viewers for feed in self._made)

    async def close(self) -> None:
        """End all queues."""
        await asyncio.gather(*(feed.close() for feed in self._made))

    @property
    def _made(self) -> list[OverlayFeed | PassedFeed]:
        return [self.__dict__[kind] for kind in ("overlay", "plain", "passed") if kind in self.__dict__]

    def _drawn(self, *, plain: bool) -> OverlayFeed:
        camera = self.camera
        return OverlayFeed(
            camera.hub,
            self._executor,
            camera.statistics,
            stamp=self._stamp,
            plain=plain,
            regions=camera.scene.zones.view,
        )


class OverlayFeeds:
    """The feeds of all cameras by name. A `CameraWatcher`."""

    def __init__(
        self, cameras: Mapping[str, CameraPipeline], executor: Executor, *, stamp: bool = False
    ) -> None:
        self._cameras, self._executor, self._stamp = cameras, executor, stamp
        self._feeds: dict[str, CameraFeeds] = {}

    def of(self, name: str) -> CameraFeeds:
        """The feeds of a camera. Raises KeyError when there is no such camera."""
        camera, feeds = self._cameras[name], self._feeds.get(name)
        if feeds is None or feeds.camera is not camera:  # another camera may have come under an old name
            feeds = self._feeds[name] = CameraFeeds(camera, self._executor, stamp=self._stamp)
        return feeds

    def __getitem__(self, name: str) -> OverlayFeed:
        """The overlay of a camera. Raises KeyError."""
        return self.of(name).overlay

    def viewers(self, name: str) -> int:
        """How many watch a camera, in whichever way."""
        return self._feeds[name].viewers if name in self._feeds else 0

    def came(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""

    def went(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`; its feeds end with its hub."""
        self._feeds.pop(camera.name, None)

    async def close(self) -> None:
        """End all feeds."""
        await asyncio.gather(*(feeds.close() for feeds in self._feeds.values()))
