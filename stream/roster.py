"""Which cameras there are: those of the config file, and what was added, changed and removed while the server ran.

Owns the rules: what may be added, how many, and that a change made while it runs wins over the config file, camera by
camera. One change is made after another. Does not know HTTP (`stream.roster_api`) nor signals (`stream.commands`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from stream.app import Service
from stream.camera_config import CameraConfig
from stream.camera_hosts import CameraHosts
from stream.camera_store import CameraStore
from stream.config import ServeConfig
from stream.errors import ConfigError, StreamError
from stream.log import about
from stream.sources.admitted import Admission
from stream.sources.urls import PUBLISHED, mask_url

_log = logging.getLogger(__name__)


class CameraExistsError(Exception):
    """There is a camera of that name."""


class NoCameraError(Exception):
    """There is no camera of that name."""


class TooManyCamerasError(Exception):
    """There are as many cameras as there may be."""


class NotStoredError(Exception):
    """The change could not be written down, so it was not made."""


class Roster:
    """The cameras of a service that runs, and the only one who changes them. `store`: where changes outlive it."""

    def __init__(
        self, service: Service, store: CameraStore | None = None, hosts: CameraHosts | None = None
    ) -> None:
        self._service, self._store = service, store
        self._config = service.config
        self._hosts = hosts or CameraHosts(service.config.server.camera_hosts)
        self._changes: dict[str, CameraConfig | None] = {}
        self._busy = asyncio.Lock()

    async def restore(self) -> None:
        """Bring back what the store holds. A camera that cannot be set up any more is logged and left out."""
        if self._store is None:
            return
        async with self._busy:
            self._changes = self._store.read()
            for name in self._changes:
                await self._apply(name)

    async def add(self, name: str, settings: CameraConfig) -> None:
        """Add a camera. Raises CameraExistsError, TooManyCamerasError, ConfigError, NotStoredError."""
        async with self._busy:
            cameras = self._service.cameras
            if name in cameras:
                raise CameraExistsError(f"there is a camera '{name}' already")
            most = self._config.server.max_cameras
            if len(cameras) >= most:
                raise TooManyCamerasError(f"{most} cameras are there, the limit (server.max_cameras)")
            await self._check(name, settings)
            with self._noted(name, settings):
                cameras.add(name, settings, self._admit(settings))
            with about(camera=name):
                _log.info("camera %s was added: %s", name, mask_url(settings.url))

    async def change(self, name: str, settings: CameraConfig) -> None:
        """Give a camera other settings. A URL that is written as it is shown, without its password, stays as it is.

        Raises NoCameraError, ConfigError, NotStoredError.
        """
        async with self._busy:
            old = self._known(name)
            if settings.url == mask_url(old.url):
                settings = settings.model_copy(update={"url": old.url})
            else:
                await self._check(name, settings)
            with self._noted(name, settings):
                anew = await self._service.cameras.change(name, settings, self._admit_if_ours(name, settings))
            with about(camera=name):
                _log.info("camera %s was changed%s", name, ", and connects again" if anew else "")

    async def remove(self, name: str) -> None:
        """Remove a camera. Raises NoCameraError, NotStoredError."""
        async with self._busy:
            self._known(name)
            with self._noted(name, None):
                await self._service.cameras.remove(name)
            with about(camera=name):
                _log.info("camera %s was removed", name)

    async def reload(self, config: ServeConfig) -> None:
        """Let the cameras be as another config file says, but for those that were changed while it ran. One that cannot
        be set up is logged, and the others are all the same.
        """
        async with self._busy:
            before = self._config.cameras
            self._config = self._config.model_copy(update={"cameras": config.cameras})
            names = [*before, *(name for name in config.cameras if name not in before)]
            for name in names:
                if name in self._changes:
                    if before.get(name) != config.cameras.get(name):
                        with about(camera=name):
                            _log.warning("camera %s: what was changed while it ran stays", name)
                elif before.get(name) != config.cameras.get(name):
                    await self._apply(name)

    def settings(self, name: str) -> CameraConfig:
        """A camera's settings, its password among them. Raises NoCameraError."""
        return self._known(name)

    def _known(self, name: str) -> CameraConfig:
        try:
            return self._service.cameras.settings(name)
        except KeyError:
            raise NoCameraError("no such camera") from None

    @property
    def _wanted(self) -> Mapping[str, CameraConfig | None]:
        return {**self._config.cameras, **self._changes}

    async def _apply(self, name: str) -> None:
        """Let one camera be as it should."""
        cameras, settings = self._service.cameras, self._wanted.get(name)
        try:
            if settings is None:
                if name in cameras:
                    await cameras.remove(name)
            elif name in cameras:
                await cameras.change(name, settings, self._admit_if_ours(name, settings))
            else:
                cameras.add(name, settings, self._admit_if_ours(name, settings))
        except ConfigError as error:
            with about(camera=name):
                _log.error("camera %s: %s", name, error)

    async def _check(self, name: str, settings: CameraConfig) -> None:
        """Raises ConfigError for what nobody may ask for over the network. A host that has no address now may have one
        later, when it is asked again.
        """
        self._hosts.check_url(settings.url)
        if settings.url.lower() == PUBLISHED and not self._config.server.publish_tokens:
            raise ConfigError("url: nobody may publish here: server.publish_tokens are not set")
        self._service.cameras.check(name, settings)
        try:
            await self._hosts.check(settings.url)
        except StreamError as error:
            if not error.retryable:
                raise ConfigError(f"url: {error}") from error

    def _admit(self, settings: CameraConfig) -> Admission | None:
        return self._hosts.admit(settings.url)

    def _admit_if_ours(self, name: str, settings: CameraConfig) -> Admission | None:
        """What the config file says needs nobody's leave."""
        in_file = self._config.cameras.get(name)
        return None if in_file is not None and in_file.url == settings.url else self._admit(settings)

    @contextmanager
    def _noted(self, name: str, settings: CameraConfig | None) -> Iterator[None]:
        """A change is written down before it is made, and taken back where it cannot be made."""
        before = dict(self._changes)
        if settings is None and name not in self._config.cameras:
            self._changes.pop(name, None)
        else:
            self._changes[name] = settings
        try:
            self._write()
        except OSError as error:
            self._changes = before
            raise NotStoredError(f"the change cannot be kept: {error.strerror}; nothing was done") from error
        try:
            yield
        except BaseException:
            self._changes = before
            self._write()
            raise

    def _write(self) -> None:
        if self._store is not None:
            self._store.write(self._changes)
