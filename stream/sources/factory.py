"""The choice of the source for an address."""

from __future__ import annotations

from stream.errors import ConfigError
from stream.sources.admitted import Admission, AdmittedSource
from stream.sources.base import Source, SourceOptions
from stream.sources.file import FileSource
from stream.sources.packets import PacketTap
from stream.sources.published import Doorway, PublishedSource
from stream.sources.rtsp import LiveSource
from stream.sources.urls import parse_address


def open_source(
    camera: str,
    url: str,
    *,
    options: SourceOptions | None = None,
    realtime: bool = False,
    tap: PacketTap | None = None,
    doorway: Doorway | None = None,
    admission: Admission | None = None,
) -> Source:
    """The source for an address. Nothing is opened before its `frames` is iterated.

    `url` is rtsp:// or rtsps://, /dev/videoN, a file (a path or file://), or
    synthetic:SEED[?level=medium&fps=25&size=640x360&frames=100], or whip: for what comes in by a `doorway`. `realtime`
    plays files and the synthetic camera at their own pace, with each frame stamped when it is due; cameras have no
    other pace.
    `admission`: what is asked of the host of an RTSP camera, before connecting and after. `tap`: where a camera's own
    encoded pictures go; RTSP cameras and published ones have some.

    Raises ConfigError, naming the address with its password masked, when it is none of these.
    """
    address = parse_address(url)
    if address.synthetic is not None:
        from stream.sources.synthetic import SyntheticSource  # a camera's server needs no renderer

        return SyntheticSource(camera, address.synthetic, realtime=realtime)
    if address.kind == "publisher":
        if doorway is None:
            raise ConfigError("source 'whip:' cannot be opened: only `serve` lets publishers in")
        return PublishedSource(camera, doorway, options or SourceOptions(), tap)
    if address.kind == "file":
        return FileSource(camera, address, realtime=realtime)
    if admission is None:
        return LiveSource(camera, address, options or SourceOptions(), tap)
    live = LiveSource(camera, address, options or SourceOptions(), tap, admission.peers)
    return AdmittedSource(live, admission)
