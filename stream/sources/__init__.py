"""Where frames come from: cameras, files and the synthetic world, behind one interface.

    source = open_source("door", "rtsp://user:password@host/path")
    async for frame in source.frames(): ...

Owns the choice of the source for an address. Wrap it in a `Supervisor` to have it reconnect.
"""

from __future__ import annotations

from stream.sources.base import DropCallback, Source, SourceOptions
from stream.sources.file import FileSource
from stream.sources.reader import cool_down, warm_up
from stream.sources.rtsp import LiveSource
from stream.sources.supervisor import ReconnectPolicy, SourceObserver, Supervisor, reason_of
from stream.sources.urls import mask_url, parse_address, scrub

__all__ = [
    "DropCallback",
    "ReconnectPolicy",
    "Source",
    "SourceObserver",
    "SourceOptions",
    "Supervisor",
    "cool_down",
    "mask_url",
    "open_source",
    "reason_of",
    "scrub",
    "warm_up",
]


def open_source(
    camera: str, url: str, *, options: SourceOptions | None = None, realtime: bool = False
) -> Source:
    """The source for an address. Nothing is opened before its `frames` is iterated.

    `url` is rtsp:// or rtsps://, /dev/videoN, a file (a path or file://), or
    synthetic:SEED[?level=medium&fps=25&size=640x360&frames=100]. `realtime` plays files and the synthetic
    camera at their own pace, with each frame stamped when it is due; cameras have no other pace.

    Raises ConfigError, naming the address with its password masked, when it is none of these.
    """
    address = parse_address(url)
    if address.synthetic is not None:
        from stream.sources.synthetic import SyntheticSource  # a camera's server needs no renderer

        return SyntheticSource(camera, address.synthetic, realtime=realtime)
    if address.kind == "file":
        return FileSource(camera, address, realtime=realtime)
    return LiveSource(camera, address, options or SourceOptions())
