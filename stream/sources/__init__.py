"""Where frames come from: cameras, files and the synthetic world, behind one interface.

    source = open_source("door", "rtsp://user:password@host/path")
    async for frame in source.frames(): ...

Wrap a source in a `Supervisor` to have it reconnect. Names are looked up when first used: a reader process
imports this package too, and must not carry the rest of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.sources.base import DropCallback, Source, SourceOptions
    from stream.sources.factory import open_source
    from stream.sources.reader import cool_down, warm_up
    from stream.sources.supervisor import ReconnectPolicy, SourceObserver, Supervisor, reason_of
    from stream.sources.urls import mask_text, mask_url, scrub

__all__ = [
    "DropCallback",
    "ReconnectPolicy",
    "Source",
    "SourceObserver",
    "SourceOptions",
    "Supervisor",
    "cool_down",
    "mask_text",
    "mask_url",
    "open_source",
    "reason_of",
    "scrub",
    "warm_up",
]

_HOMES = {
    "base": ("DropCallback", "Source", "SourceOptions"),
    "factory": ("open_source",),
    "reader": ("cool_down", "warm_up"),
    "supervisor": ("ReconnectPolicy", "SourceObserver", "Supervisor", "reason_of"),
    "urls": ("mask_text", "mask_url", "scrub"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"stream.sources.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
