"""The model of a server: loaded at its start, and again at SIGHUP where the config names another one, other settings of
its tracker, or its file has changed. While it is loaded, the one before goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stream.errors import SyncVISError

if TYPE_CHECKING:
    from stream.app import Service
    from stream.config import ServeConfig
    from stream.engine import Engine
    from stream.identities import IdLedger

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a model was loaded by: two that are equal are the same model."""

    model: Any
    tracker: Any
    file: tuple[int, ...]


class Models:
    """Loads the models of one server; `ledger`: of the ids that its cameras were given."""

    def __init__(self, ledger: IdLedger) -> None:
        self._ledger = ledger
        self._loaded: _Loaded | None = None
        self._ending = threading.Event()

    def end(self) -> None:
        """Nothing is loaded any more, and what is being loaded is given up where it takes long."""
        self._ending.set()

    async def load(self, config: ServeConfig) -> Engine:
        """The engine that a config asks for. Raises ModelError and ConfigError."""
        from stream.engine import load_engine

        asked = await asyncio.to_thread(_asked, config)
        model = config.model
        engine = await asyncio.to_thread(
            load_engine,
            model.name,
            device=model.device,
            engine=model.engine,
            precision=model.precision,
            threads=model.threads,
            overlap=model.overlap,
            tracker=config.tracker,
            ledger=self._ledger,
            ending=self._ending,
        )
        self._loaded = asked
        return engine

    async def reload(self, service: Service, config: ServeConfig) -> bool:
        """Let the service have what a config asks for; whether it has it, or had it already. An error is logged, and
        the model before goes on.
        """
        before = self._loaded
        try:
            if await asyncio.to_thread(_asked, config) == before:
                return True
            began_s = time.monotonic()
            await service.replace_engine(await self.load(config))
        except (
            Exception
        ) as error:  # a mistake of the config's, a file half written, no memory for two: it goes on
            self._loaded = before
            trace = None if isinstance(error, SyncVISError) else error
            _log.error("the model was not loaded again, the one before goes on: %s", error, exc_info=trace)
            return False
        _log.info("the model was loaded again: %s, in %.1f s", config.model.name, time.monotonic() - began_s)
        return True


def _asked(config: ServeConfig) -> _Loaded:
    """Raises ModelError when there is no such file."""
    from syncvis_online.checkpoint import resolve_model

    file = resolve_model(config.model.name).stat()
    return _Loaded(config.model, config.tracker, (file.st_ino, file.st_size, file.st_mtime_ns))
