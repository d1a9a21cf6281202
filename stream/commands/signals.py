"""Ctrl-C and SIGTERM as a request to end, not as an exception in the middle of something."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(callback: Callable[[], None]) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM call `callback` on the running event loop, each time they come."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
