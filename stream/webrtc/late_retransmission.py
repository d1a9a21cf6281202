"""aiortc's one task of which it never looks at the end: a data channel's retransmission that begins when the peer's
DTLS has ended already. It raises ConnectionError into nothing, which asyncio reports as an error with a stack trace,
for each viewer that vanishes while masks are on their way.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiortc import RTCSctpTransport

_log = logging.getLogger(__name__)


def expect_late_retransmissions(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop tell of these at debug level, and of all else as before."""
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task, error = context.get("future"), context.get("exception")
        if isinstance(error, ConnectionError) and _is_retransmission(task):
            _log.debug("a message to a peer that has gone was not sent again: %s", error)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _is_retransmission(task: object) -> bool:
    if not isinstance(task, asyncio.Task):
        return False
    code = getattr(task.get_coro(), "cr_code", None)
    return code is RTCSctpTransport._transmit.__code__
