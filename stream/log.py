"""Logging, set up once for the process.

Owns the format, the level and the rule that nothing that is logged shows the password of a URL, stack traces
included. Modules log with `logging.getLogger(__name__)` and set up nothing.
"""

from __future__ import annotations

import logging
import sys
import time

from stream.sources import mask_text

LEVELS = ("debug", "info", "warning", "error")


class MaskingFormatter(logging.Formatter):
    """Formats a record, stack trace included, and masks the passwords of all URLs in what comes out."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one or more lines of text."""
        return mask_text(super().format(record))


def set_up_logging(level: str = "info") -> None:
    """Send all log records of `level` (one of LEVELS) and above to stderr; replaces what it set up
    earlier.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        MaskingFormatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, MaskingFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Their info is a line for every request, packet or task.
    for chatty in ("aiortc", "aioice", "asyncio", "uvicorn", "websockets"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
