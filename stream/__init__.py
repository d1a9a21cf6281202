"""The live side: cameras in, tracked frames out.

    from stream import open_tracker

Importing this package imports neither torch nor a decoder; using `open_tracker` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.tracker_api import TrackerStream, open_tracker

__all__ = ["TrackerStream", "open_tracker"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from stream import tracker_api

        return getattr(tracker_api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
