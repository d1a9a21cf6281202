"""Where everything is, as a gateway knows it: the controller's table, asked for again and again.

Owns the newest table. While the controller is away, the one before goes on being true as far as anybody knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from stream.cluster.messages import Owner, Settings, Table

_log = logging.getLogger(__name__)

WAIT_S = 1.0
RETRY_S = 0.5


class AwayError(Exception):
    """The controller does not answer."""


class Control(Protocol):
    """What a gateway asks of the controller. All raise AwayError."""

    async def table(self, version: int, wait_s: float) -> Table:
        """See `Controller.table`."""
        ...

    async def cameras(self) -> Mapping[str, Settings]:
        """Which cameras there are."""
        ...

    async def add(self, camera: str, settings: Settings, most: int) -> str:
        """See `Controller.add`."""
        ...

    async def change(self, camera: str, settings: Settings) -> bool:
        """See `Controller.change`."""
        ...

    async def reload(self, before: Mapping[str, Settings], now: Mapping[str, Settings]) -> list[str]:
        """See `Controller.reload`."""
        ...

    async def remove(self, camera: str) -> bool:
        """See `Controller.remove`."""
        ...

    async def drain(self, worker: str) -> bool:
        """See `Controller.drain`."""
        ...


class Directory:
    """Use `run()` in a task of its own."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._changed = asyncio.Condition()
        self.table = Table(-1, {})
        self.away = False
        """Whether the controller did not answer when it was asked last."""

    async def run(self) -> None:
        """Keep the table new, for ever."""
        while True:
            if not await self.look(WAIT_S):
                await asyncio.sleep(RETRY_S)

    async def look(self, wait_s: float = 0.0) -> bool:
        """Ask for the table, to be answered when it has changed or after so long; whether there was an answer."""
        try:
            table = await self._control.table(self.table.version, wait_s)
        except Exception as error:  # AwayError, or what else a library raises: nobody else would ask again
            if not self.away:
                _log.warning("the controller does not answer; all goes on as it was: %s", error)
            self.away = True
            return False
        self.away = False
        await self._take(table)
        return True

    def owner(self, camera: str) -> Owner | None:
        """Who has a camera. Raises KeyError when there is no such camera."""
        return self.table.cameras[camera]

    def epoch(self, camera: str) -> int:
        """The epoch that a camera is known to be in; 0 where nobody has it."""
        owner = self.table.cameras.get(camera)
        return 0 if owner is None else owner.epoch

    async def until_owned(self, camera: str) -> Owner | None:
        """Wait until somebody has a camera; None where there is none of that name any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.table.cameras.get(camera, False) is not None)
        return self.table.cameras.get(camera)

    async def until_moved(self, camera: str, epoch: int) -> None:
        """Wait until a camera is in no such epoch any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.epoch(camera) != epoch)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so by the table."""
        async with self._changed:
            await self._changed.wait_for(true)

    async def _take(self, table: Table) -> None:
        self.table = table
        async with self._changed:
            self._changed.notify_all()
