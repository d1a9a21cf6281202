"""Logging, set up once for the process: one line a fact, as text or as JSON, on stderr (docs/logs.md).

Owns the formats, the level, what each line says of the camera and the session that it is about, that what repeats is
counted rather than written, and that nothing shows a password: stack traces included. Modules log with
`logging.getLogger(__name__)` and set up nothing; who begins the work on a camera or a session says so by `about`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal

from stream.log_repeats import Repeats
from stream.sources import mask_text

LEVELS = ("debug", "info", "warning", "error")
LogFormat = Literal["text", "json"]

_NOTHING: Mapping[str, str] = MappingProxyType({})
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=_NOTHING)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_TIME = "%Y-%m-%dT%H:%M:%S"


@contextmanager
def about(**what: str) -> Iterator[None]:
    """All that is logged inside, and by tasks that are made inside, is about this: `camera`, `session`. What it was
    about before, it still is, but for a camera's own work: that is about no session, whoever made it begin.
    """
    before = {} if set(what) == {"camera"} else _about.get()
    token = _about.set({**before, **what})
    try:
        yield
    finally:
        _about.reset(token)


def short(session_id: str) -> str:
    """What may be told of a session's id: who knows the whole one can end the session."""
    return session_id[:6]


def mask(text: str) -> str:
    """The text without the passwords of its URLs, and without credentials as HTTP has them."""
    return _BEARER.sub(r"\g<1> ***", mask_text(text))


class TextFormatter(logging.Formatter):
    """A line of text: when, how grave, from where, what, about what. A stack trace follows on lines of its own."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(line)s", _TIME)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, masked."""
        facts = " ".join(f"{key}={value}" for key, value in _facts(record).items())
        # On one line, whatever a camera or a client put into its own words.
        record.__dict__["line"] = " ".join(record.getMessage().splitlines()) + (
            f" [{facts}]" if facts else ""
        )
        return mask(super().format(record))


class JsonFormatter(logging.Formatter):
    """A JSON object on one line: `time`, `level`, `logger`, `message`, and where they are known `camera`, `session`,
    `trace`.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, each text in it masked."""
        fields = {
            "time": f"{self.formatTime(record, _TIME)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps({key: mask(value) for key, value in fields.items()}, ensure_ascii=False)


def _facts(record: logging.LogRecord) -> Mapping[str, str]:
    found: Mapping[str, str] = record.__dict__.get("about", _NOTHING)
    return found


class LogHandler(logging.Handler):
    """Writes records to stderr, whatever that is then; of what repeats the first few, and how many there were more."""

    def __init__(self, log_format: LogFormat, repeats: Repeats | None = None) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
        self._repeats = repeats or Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, if it is not one too many; before it, what was left out and is over."""
        self._write(self._repeats.over())
        # Kept on the record: what is told of it later is told elsewhere.
        record.__dict__["about"] = facts = _about.get()
        if self._repeats.wanted(record, facts.get("camera")):
            self._write([record])

    def close(self) -> None:
        """Tell what was left out so far."""
        with self.lock or threading.RLock():
            self._write(self._repeats.over(all_of_them=True))
        super().close()

    def _write(self, records: Iterable[logging.LogRecord]) -> None:
        for record in records:
            try:
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
            except Exception:  # as all handlers do: what cannot be logged ends nothing
                self.handleError(record)


def set_up_logging(level: str = "info", log_format: LogFormat = "text") -> None:
    """Send all log records of `level` (one of LEVELS) and above to stderr; replaces what it set up
    earlier. Warnings of Python, and errors that end a thread, go there too.
    """
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, LogHandler):
            root.removeHandler(old)
            old.close()
    root.addHandler(LogHandler(log_format))
    root.setLevel(level.upper())
    # Their info is a line for every request, packet or task; websockets' debug shows headers, tokens in them.
    for chatty in ("aiortc", "aioice", "asyncio", "uvicorn", "websockets"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error


def _log_thread_error(error: threading.ExceptHookArgs) -> None:
    if error.exc_value is None or issubclass(error.exc_type, SystemExit):
        return
    name = error.thread.name if error.thread is not None else "unknown"
    trace = (error.exc_type, error.exc_value, error.exc_traceback)
    logging.getLogger(__name__).error("the thread %s ended by a defect", name, exc_info=trace)
