from __future__ import annotations

import av.error
import pytest

from stream.errors import SourceInvalid, SourceNotFound, SourceUnauthorized, SourceUnavailable, StreamError
from stream.sources.errors import FAILURES, Failure, failure_of, stream_error

URL = "rtsp://admin:hunter2@cam/1"


def test_every_error_that_a_server_or_file_can_cause_is_in_the_table() -> None:
    ours = {"ArgumentError", "FFmpegError", "PyAVCallbackError", "UndefinedError", "LookupError"}
    network_or_file = [
        name
        for name in dir(av.error)
        if name.endswith("Error")
        and isinstance(getattr(av.error, name), type)
        and issubclass(getattr(av.error, name), av.FFmpegError)
        and name not in ours
    ]
    caused_outside = [
        name for name in network_or_file if name.startswith(("HTTP", "Connection", "Timeout", "FileNotFound"))
    ]
    assert caused_outside
    assert set(caused_outside) - {"HTTPError", "HTTPClientError"} <= set(FAILURES)


@pytest.mark.parametrize("name", [*FAILURES, "SomethingNew"])
def test_every_failure_becomes_one_line_that_names_the_masked_url(name: str) -> None:
    error = stream_error(Failure(name, f"text\nabout {URL}"), URL, live=True)
    assert isinstance(error, StreamError)
    assert str(error).startswith("rtsp://admin:***@cam/1: ")
    assert len(str(error)) > len("rtsp://admin:***@cam/1: ")
    assert "hunter2" not in str(error)
    assert "\n" not in str(error)


def test_our_own_words_survive_a_password_that_is_one_of_them() -> None:
    error = stream_error(Failure("TimeoutError"), "rtsp://admin:time@cam/1", live=True)
    assert str(error) == "rtsp://admin:***@cam/1: no answer in time"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (av.error.ConnectionRefusedError(111, "Connection refused", URL), SourceUnavailable),
        (av.error.HTTPNotFoundError(0, "404", URL), SourceNotFound),
        (av.error.HTTPUnauthorizedError(0, "401", URL), SourceUnauthorized),
        (av.error.InvalidDataError(0, "Invalid data", URL), SourceInvalid),
        (FileNotFoundError(2, "No such file"), SourceNotFound),
    ],
)
def test_kinds_of_errors(error: Exception, expected: type[StreamError]) -> None:
    assert type(stream_error(failure_of(error), URL, live=True)) is expected


def test_invalid_data_at_the_deadline_is_a_mute_server() -> None:
    assert isinstance(
        stream_error(Failure("InvalidDataError", timed_out=True), URL, live=True), SourceUnavailable
    )


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("name", ["FileNotFoundError", "InvalidDataError", "NoVideo"])
def test_what_is_not_there_may_come_with_a_camera_and_not_with_a_file(name: str, live: bool) -> None:
    assert stream_error(Failure(name), "x", live=live).retryable is live


def test_a_wrong_password_is_not_tried_again_at_once() -> None:
    assert not stream_error(Failure("HTTPUnauthorizedError"), "x", live=True).retryable
