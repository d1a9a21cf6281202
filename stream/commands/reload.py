"""SIGHUP: the config file is read again, and its cameras and its model are as it says. What else changed in it needs a
restart.

Owns the signal, and the words for what was found. What becomes of the cameras is `stream.roster`'s, of the model
`stream.commands.models`'s.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from stream.config import ServeConfig
from stream.errors import ConfigError
from stream.memory import trim
from stream.roster import Roster

_log = logging.getLogger(__name__)


@asynccontextmanager
async def reloading(
    roster: Roster,
    config: ServeConfig,
    load: Callable[[], ServeConfig],
    renew: Callable[[], None],
    reload_model: Callable[[ServeConfig], Awaitable[bool]],
) -> AsyncIterator[None]:
    """While inside, each SIGHUP has the config read anew by `load`, and then what it names of files by `renew`, and the
    model by `reload_model`, which says whether it is as the config has it; `config` is what the process was started
    with.
    """

    async def reload() -> None:
        nonlocal config
        try:
            found = await asyncio.to_thread(load)
        except ConfigError as error:
            _log.error("the config was not loaded again, nothing has changed: %s", error)
            return
        await roster.reload(found)
        renew_certificate(renew)
        if await reload_model(found):
            config = config.model_copy(update={"model": found.model, "tracker": found.tracker})
        say_loaded(config, found)
        await asyncio.to_thread(trim)  # a model or cameras before were let go

    async with at_each_hangup(reload):
        yield


@asynccontextmanager
async def at_each_hangup(do: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """While inside, each SIGHUP has this done, once more after it where one comes meanwhile."""
    wanted, loop = asyncio.Event(), asyncio.get_running_loop()

    async def again() -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            await do()

    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(again(), name="reload")
            try:
                yield
            finally:
                task.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def renew_certificate(renew: Callable[[], None]) -> None:
    """Have the certificate read again, where handshakes are made: none may begin between a new one and its key."""
    try:
        renew()
    except ConfigError as error:
        _log.error("the certificate was not loaded again: %s", error)


def say_loaded(config: ServeConfig, found: ServeConfig) -> None:
    """Log that a config was loaded again, and what of it is not as the process has it."""
    if others := changed_keys(config, found):
        _log.warning("changed in the config, needs a restart: %s", ", ".join(others))
    _log.info("the config was loaded again: %d camera(s) in it", len(found.cameras))


def changed_keys(old: ServeConfig, new: ServeConfig) -> list[str]:
    """The keys, but for cameras, of which the values differ: `server.port`. Never a value, it may be a secret."""
    one, other = old.model_dump(exclude={"cameras"}), new.model_dump(exclude={"cameras"})
    return list(_differences(one, other, ""))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str) -> list[str]:
    found: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += _differences(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs:
            found.append(prefix + key)
    return found
