"""Nothing that is logged shows the password of a URL."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.log import MaskingFormatter, set_up_logging
from stream.sources import mask_text

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure

URL = "rtsp://me:hunter2@cam.local:8554/live"


def formatted(message: str, *arguments: object, error: BaseException | None = None) -> str:
    trace = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, message, arguments, trace)
    return MaskingFormatter("%(message)s").format(record)


def test_messages_arguments_and_stack_traces_are_masked() -> None:
    masked = URL.replace("hunter2", "***")
    assert formatted(f"opening {URL}.") == f"opening {masked}."
    assert formatted("opening %s, %r", URL, URL) == f"opening {masked}, '{masked}'"
    try:
        raise ValueError(f"cannot open {URL}")
    except ValueError as error:
        text = formatted("failed", error=error)
    assert "Traceback" in text
    assert masked in text
    assert "hunter2" not in text


@no_deadline
@given(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=8).filter(lambda s: s != "***" * 3))
def test_any_password_is_masked(password: str) -> None:
    text = mask_text(f"a rtsp://me:{password}@cam/1 b")
    assert text == "a rtsp://me:***@cam/1 b"


@no_deadline
@given(st.text())
def test_text_without_a_url_is_left_alone(text: str) -> None:
    if "://" not in text and "=" not in text and "@" not in text:
        assert mask_text(text) == text


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_setting_up_twice_logs_once(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug")
    set_up_logging("info")
    assert root.level == logging.INFO
    logging.getLogger("stream.test").info("camera at %s", URL)
    logging.getLogger("aiortc").info("a packet")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("Z INFO stream.test: camera at " + URL.replace("hunter2", "***"))
