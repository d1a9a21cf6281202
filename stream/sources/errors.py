"""The one place where FFmpeg's errors become ours: a table from PyAV's exception names to the error tree.

Exceptions cross the process boundary as names and numbers (`Failure`), since a reader process knows nothing
of this package. Messages are one line: the masked URL and what is wrong, in our words, since FFmpeg's own
texts ("Immediate exit requested", "Input/output error") say nothing to the person at the keyboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream.errors import SourceInvalid, SourceNotFound, SourceUnauthorized, SourceUnavailable, StreamError
from stream.sources.urls import mask_url, scrub

Category = Literal["unavailable", "not_found", "unauthorized", "invalid"]

FAILURES: dict[str, tuple[Category, str]] = {
    "ConnectionRefusedError": ("unavailable", "connection refused"),
    "ConnectionResetError": ("unavailable", "the connection was reset"),
    "ConnectionAbortedError": ("unavailable", "the connection was aborted"),
    "BrokenPipeError": ("unavailable", "the connection was closed"),
    "TimeoutError": ("unavailable", "no answer in time"),
    "ExitError": ("unavailable", "no answer in time"),
    "EOFError": ("unavailable", "the stream ended"),
    "EndOfStream": ("unavailable", "the server closed the stream"),
    "ReaderDied": ("unavailable", "its reader process died"),
    "Stalled": ("unavailable", "no more pictures came"),
    "Behind": ("unavailable", "its pictures come ever later (a slow line, or its clock is)"),
    "NoPicture": ("unavailable", "no picture could be decoded in time (no key frame?)"),
    "UnknownHost": ("unavailable", "the host name is not known"),
    "OSError": ("unavailable", "cannot be reached"),
    "HTTPServerError": ("unavailable", "the server reports an internal error"),
    "HTTPTooManyRequestsError": ("unavailable", "the server refuses more clients"),
    "HTTPBadRequestError": ("unavailable", "the server refuses the request"),
    "HTTPOtherClientError": ("unavailable", "the server refuses the request (another transport?)"),
    "BlockingIOError": ("unavailable", "busy"),
    "HTTPNotFoundError": ("not_found", "not found on the server"),
    "FileNotFoundError": ("not_found", "no such file"),
    "ProcessLookupError": ("not_found", "no such device"),
    "HTTPUnauthorizedError": ("unauthorized", "wrong user name or password"),
    "HTTPForbiddenError": ("unauthorized", "access forbidden"),
    "PermissionError": ("unauthorized", "permission denied"),
    "InvalidDataError": ("invalid", "not a video that can be decoded"),
    "NoVideo": ("invalid", "has no video stream"),
    "StillPicture": ("invalid", "is a picture or a text, not a video"),
    "NothingDecoded": ("invalid", "holds no picture that can be decoded"),
    "IsADirectoryError": ("invalid", "is a directory"),
    "DemuxerNotFoundError": ("invalid", "its format is not known"),
    "DecoderNotFoundError": ("invalid", "its codec is not known"),
    "ProtocolNotFoundError": ("invalid", "its protocol is not supported"),
    "PatchWelcomeError": ("invalid", "its format is not supported"),
    "NotImplementedError": ("invalid", "its format is not supported"),
}
"""Name of an exception (or of a finding of our own) -> (kind of error, what to say)."""

_SAID_OF_CAMERAS: dict[str, str] = {
    "InvalidDataError": "the server hung up, or what it says is no video that can be decoded"
}
"""Where a live source's failure means more than a file's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a reader saw: the name of the exception, its text, and whether the time to open had run out."""

    name: str
    text: str = ""
    timed_out: bool = False


def failure_of(error: BaseException) -> Failure:
    """The Failure of an exception that PyAV (or the operating system) raised in this process."""
    return Failure(type(error).__name__, getattr(error, "strerror", None) or str(error))


def stream_error(failure: Failure, url: str, *, live: bool) -> StreamError:
    """The error of our tree for a failure of the source at `url`; the message is masked.

    A live path that is not found, or what is no video now, may be there in a moment (cameras restart; what stands
    before one may hang up), so for live sources that is retryable.
    """
    # Only foreign words can hold a secret; ours must not suffer from a password that is one of them.
    foreign: tuple[Category, str] = ("unavailable", scrub(failure.text or failure.name, url))
    category, words = FAILURES.get(failure.name, foreign)
    if failure.timed_out and category in ("unavailable", "invalid"):
        # A server that accepts and then says nothing shows as invalid data at the deadline.
        category, words = "unavailable", "no answer in time"
    elif live:
        words = _SAID_OF_CAMERAS.get(failure.name, words)
    message = f"{mask_url(url)}: {words}"
    if category == "not_found":
        return SourceNotFound(message, retryable=live)
    if category == "invalid":
        return SourceInvalid(message, retryable=live)
    return SourceUnauthorized(message) if category == "unauthorized" else SourceUnavailable(message)
