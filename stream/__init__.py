"""The live side: cameras in, tracked frames out.

    from stream import open_tracker, subscribe

`open_tracker` tracks a camera here; `subscribe` and `subscribe_events` read what a server tracks. Importing this
package imports neither torch nor a decoder; using `open_tracker` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.client import subscribe, subscribe_events
    from stream.events import TrackEvent
    from stream.tracker_api import TrackerStream, open_tracker
    from stream.wire import WireFrame, WireTrack

__all__ = [
    "TrackEvent",
    "TrackerStream",
    "WireFrame",
    "WireTrack",
    "open_tracker",
    "subscribe",
    "subscribe_events",
]

_MODULES = {
    "TrackEvent": "stream.events",
    "TrackerStream": "stream.tracker_api",
    "WireFrame": "stream.wire",
    "WireTrack": "stream.wire",
    "open_tracker": "stream.tracker_api",
    "subscribe": "stream.client",
    "subscribe_events": "stream.client",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
