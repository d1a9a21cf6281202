"""Every error of the live side, and nothing else.

    SyncVISError                    anything that this package raises on purpose
    +-- ConfigError                 a config file, key, value or argument is wrong
    +-- ModelError                  a checkpoint cannot be used
    +-- DataError                   a data set or annotation file is missing or damaged
    +-- ClusterError                a cluster has not done in time what it was asked for
    +-- StreamError                 a camera failed; `retryable` says whether trying again can help
        +-- SourceUnavailable       cannot be reached, or went away (retryable)
        +-- SourceNotFound          the server is there, the path or file is not
        +-- SourceUnauthorized      the server refuses the credentials
        +-- SourceInvalid           reached, but it is not a video that can be decoded
        +-- SourceForbidden         its host is none that cameras may be at
        +-- SourceLeft              who published it left: it waits for the next one

The message names what failed and where, in one line, with any password masked.
"""

from __future__ import annotations

from syncvis_online.errors import ConfigError, DataError, ModelError, SyncVISError

__all__ = [
    "ClusterError",
    "ConfigError",
    "DataError",
    "ModelError",
    "SourceForbidden",
    "SourceInvalid",
    "SourceLeft",
    "SourceNotFound",
    "SourceUnauthorized",
    "SourceUnavailable",
    "StreamError",
    "SyncVISError",
]


class ClusterError(SyncVISError):
    """A cluster has not done in time what it was asked for."""


class StreamError(SyncVISError):
    """A camera failed. `retryable` is data for the supervisor, the only place that retries."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class SourceUnavailable(StreamError):
    """The source cannot be reached now, or stopped sending."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class SourceNotFound(StreamError):
    """The file or the path on the server does not exist. Servers restart, so a live path may come back."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, retryable=retryable)


class SourceUnauthorized(StreamError):
    """The server refuses the user name or the password."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False)


class SourceInvalid(StreamError):
    """What was reached holds no video stream that can be decoded. A camera that starts may say so for a while."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, retryable=retryable)


class SourceForbidden(StreamError):
    """Nothing may be connected to there; names can come to mean another address."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False)


class SourceLeft(StreamError):
    """Who published the camera is gone; the next one may come at once. `expected`: it left as it should."""

    def __init__(self, message: str, *, expected: bool = True) -> None:
        super().__init__(message, retryable=True)
        self.expected = expected
