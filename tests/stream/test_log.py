"""One line a fact, about which camera and session, and nothing that is logged shows a password."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from contextlib import redirect_stderr

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.log import JsonFormatter, LogHandler, TextFormatter, about, set_up_logging
from stream.log_repeats import MOST_KINDS, Repeats
from stream.sources import mask_text

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure

URL = "rtsp://me:hunter2@cam.local:8554/live"


def formatted(message: str, *arguments: object, error: BaseException | None = None) -> str:
    trace = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, message, arguments, trace)
    return TextFormatter().format(record).partition(" test: ")[2]


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


@pytest.mark.usefixtures("logging_as_before")
def test_setting_up_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug")
    set_up_logging("info")
    assert logging.getLogger().level == logging.INFO
    logging.getLogger("stream.test").info("camera at %s", URL)
    logging.getLogger("aiortc").info("a packet")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("Z INFO stream.test: camera at " + URL.replace("hunter2", "***"))


@no_deadline
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_record_is_one_line_whatever_is_in_it(text: str) -> None:
    assert len(formatted("%s", text).splitlines()) <= 1
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, "%s", (text,), None)
    (line,) = JsonFormatter().format(record).split("\n")
    assert set(json.loads(line)) == {"time", "level", "logger", "message"}


def test_json_is_masked_in_each_of_its_texts_and_stays_json() -> None:
    try:
        raise ValueError(f'cannot open "{URL}"')
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, 'of "%s"', (URL,), trace)
    found = json.loads(JsonFormatter().format(record))
    masked = URL.replace("hunter2", "***")
    assert found["message"] == f'of "{masked}"'
    assert "Traceback" in found["trace"]
    assert "hunter2" not in str(found)
    assert found["level"] == "error"


def test_credentials_as_http_has_them_are_masked() -> None:
    assert formatted("< Authorization: Bearer 0123456789abcdef-view") == "< Authorization: Bearer ***"
    assert formatted("Basic bWU6aHVudGVyMg==") == "Basic ***"
    assert formatted("basic rules of bearer tokens") == "basic rules of bearer tokens"


@pytest.fixture
def json_logging(logging_as_before: None) -> None:
    """Logging that is set up anew."""
    set_up_logging("debug", "json")


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """What is on stderr, each line as JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("json_logging")
async def test_what_is_logged_says_which_camera_and_session_it_is_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("test")

    async def work() -> None:
        log.info("in a task of the session")
        await asyncio.to_thread(log.info, "in a thread of it")

    with about(camera="door"):
        log.info("of the camera")
        with about(session="abc123"):
            task = asyncio.create_task(work())
            with about(camera="door"):  # what all sessions share: begun by one of them
                shared = asyncio.create_task(asyncio.to_thread(log.info, "of the camera again"))
    await asyncio.gather(task, shared)
    log.info("of neither")
    found = [each for each in written(capsys) if each["logger"] == "test"]
    assert {each["message"]: (each.get("camera"), each.get("session")) for each in found} == {
        "of the camera": ("door", None),
        "in a task of the session": ("door", "abc123"),
        "in a thread of it": ("door", "abc123"),
        "of the camera again": ("door", None),
        "of neither": (None, None),
    }


@pytest.mark.usefixtures("json_logging")
def test_a_defect_in_a_thread_is_a_record_without_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise ValueError(URL)

    thread = threading.Thread(target=fail, name="one of ours")
    thread.start()
    thread.join()
    (found,) = written(capsys)
    assert found["message"] == "the thread one of ours ended by a defect"
    assert "hunter2" not in found["trace"]


def emitted(repeats: Repeats, messages: list[tuple[str, str | None]]) -> list[str]:
    """What of such messages (and their cameras) is written."""
    handler, written = LogHandler("text", repeats), io.StringIO()
    with redirect_stderr(written):
        for number, (camera_says, camera) in enumerate(messages):
            record = logging.LogRecord("test", logging.WARNING, __file__, 1, camera_says, (), None)
            if camera is None:
                handler.handle(record)
            else:
                record.msg, record.args = "%s for time %d", (camera_says, number)
                with about(camera=camera):
                    handler.handle(record)
        handler.close()
    return [line.partition(" test: ")[2] for line in written.getvalue().splitlines()]


def test_what_repeats_is_counted_for_each_camera_and_told_in_the_end() -> None:
    now_s = 0.0
    repeats = Repeats(first=2, period_s=60, now_s=lambda: now_s)
    messages: list[tuple[str, str | None]] = [("down", "door")] * 5 + [("down", "yard"), ("alone", None)]
    assert emitted(repeats, messages) == [
        "down for time 0 [camera=door]",
        "down for time 1 [camera=door]",
        "down for time 5 [camera=yard]",
        "alone",
        "3 more like this in 0 s, the newest: down for time 4 [camera=door]",
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), max_size=80))
def test_each_record_is_written_or_counted_and_so_many_at_most_in_a_period(
    records: list[tuple[str, float]],
) -> None:
    now_s = 0.0
    repeats = Repeats(first=3, period_s=60, now_s=lambda: now_s)
    written: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    counted = 0
    for text, pause_s in records:
        now_s += pause_s
        counted += sum(int(told.getMessage().split()[0]) for told in repeats.over())
        record = logging.LogRecord("test", logging.INFO, __file__, 1, text, (), None)
        if repeats.wanted(record, None):
            written[text].append(now_s)
    counted += sum(int(told.getMessage().split()[0]) for told in repeats.over(all_of_them=True))
    assert counted + sum(map(len, written.values())) == len(records)
    for times in written.values():
        # Periods are one after another: any 60 s are parts of two at most.
        assert all(later - first >= 60 for first, later in zip(times, times[6:], strict=False))


def test_kinds_of_records_are_bounded() -> None:
    repeats = Repeats(first=1, now_s=lambda: 0.0)
    for i in range(2 * MOST_KINDS):
        assert repeats.wanted(logging.LogRecord("test", logging.INFO, __file__, 1, str(i), (), None), None)
    assert len(repeats._seen) == MOST_KINDS
