"""What `track` writes: tracks as JSON lines, and the overlay as a video.

Owns that a file is there whole or not at all: both write to a temporary name beside the target, and take the
target's name when they are complete. Everything here blocks; call it from a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from stream.errors import ConfigError, SyncVISError
from stream.types import TrackedFrame

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")
_TIME_BASE = Fraction(1, 90000)


class Output(Protocol):
    """One file that is being written."""

    def write(self, frame: TrackedFrame) -> None:
        """Add one frame."""
        ...

    def close(self, *, keep: bool) -> None:
        """Complete the file under its own name, or leave nothing behind. Idempotent."""
        ...


class PartialFile:
    """A temporary file beside its target; made at once, so that a path that cannot be written is refused
    early.

    What is no plain file (/dev/stdout, a pipe) has no other name to take: it is written as it is.
    """

    def __init__(self, target: Path) -> None:
        special = target.exists() and not target.is_file() and not target.is_dir()
        self._in_place = special or target.parent.resolve().is_relative_to("/dev")
        self.target = target if self._in_place else target.resolve()
        self.path = self.target
        if not self._in_place:
            self.path = self.target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            if target.is_dir():
                raise IsADirectoryError(None, "is a directory")
            if target.exists() and not os.access(target, os.W_OK):
                raise PermissionError(None, "Permission denied")
            if not self._in_place:
                self.path.touch(exist_ok=False)
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror}") from error

    def close(self, *, keep: bool) -> None:
        """Give it the target's name, or remove it."""
        if self._in_place:
            return
        if keep:
            self.path.replace(self.target)
        else:
            self.path.unlink(missing_ok=True)


@contextmanager
def writing(target: Path, *others: type[Exception]) -> Iterator[None]:
    """Turns what the system says about a full disk, a pipe that closed and so on into one line; `others`: as well as
    what a library raises for it.
    """
    expected: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except expected as error:
        raise SyncVISError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from error


class TracksFile:
    """One JSON text a line, for each frame: the form of `stream.wire`."""

    def __init__(self, target: Path) -> None:
        from stream.wire import encode

        self._encode: Callable[[TrackedFrame], str] = encode
        self._part = PartialFile(target)
        with writing(target):
            self._file = self._part.path.open("w", encoding="utf-8")
        self._closed = False

    def write(self, frame: TrackedFrame) -> None:
        """Add one line."""
        with writing(self._part.target):
            self._file.write(self._encode(frame) + "\n")

    def close(self, *, keep: bool) -> None:
        """See `Output`."""
        if self._closed:
            return
        self._closed = True
        try:
            with writing(self._part.target):
                self._file.close()
        except SyncVISError:
            self._part.close(keep=False)
            raise
        self._part.close(keep=keep)


class OverlayVideo:
    """The pictures with their overlay, as H.264; each frame is shown at its captured time.

    Sides are cut to even numbers of pixels, as the codec wants them. When the camera changes its picture
    size, later pictures are scaled to the first one's.
    """

    def __init__(self, target: Path) -> None:
        import av

        from stream.overlay import draw_overlay

        if target.suffix.lower() not in VIDEO_SUFFIXES:
            raise ConfigError(
                f"cannot write {target}: expected a name that ends in {', '.join(VIDEO_SUFFIXES)}"
            )
        self._av = av
        self._draw_overlay = draw_overlay
        self._part = PartialFile(target)
        container_format = {".mkv": "matroska", ".mov": "mov"}.get(target.suffix.lower(), "mp4")
        with writing(target, av.FFmpegError):
            self._container = av.open(str(self._part.path), "w", format=container_format)
        self._stream: Any = None
        self._first_s = 0.0
        self._last_pts = -1
        self._closed = False

    def write(self, frame: TrackedFrame) -> None:
        """Draw and encode one frame."""
        image = self._draw_overlay(frame.image, frame.tracks)
        height, width = (side - side % 2 for side in image.shape[:2])
        with writing(self._part.target, self._av.FFmpegError):
            if self._stream is None:
                self._start(frame, width, height)
            picture = self._av.VideoFrame.from_ndarray(image[:height, :width].copy(), format="rgb24")
            picture = picture.reformat(self._stream.width, self._stream.height, "yuv420p")
            pts = round((frame.captured_at_s - self._first_s) / _TIME_BASE)
            picture.pts = self._last_pts = max(pts, self._last_pts + 1)
            picture.time_base = _TIME_BASE
            self._container.mux(self._stream.encode(picture))

    def _start(self, frame: TrackedFrame, width: int, height: int) -> None:
        stream = self._container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # The time base of the frames, not 1/25: cameras have a pace of their own.
        stream.codec_context.time_base = _TIME_BASE
        self._stream, self._first_s = stream, frame.captured_at_s

    def close(self, *, keep: bool) -> None:
        """See `Output`. A video without a frame is not kept: there is no such file."""
        if self._closed:
            return
        self._closed = True
        try:
            with writing(self._part.target, self._av.FFmpegError):
                if self._stream is not None:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
        except SyncVISError:
            self._part.close(keep=False)
            raise
        self._part.close(keep=keep and self._stream is not None)


def open_outputs(tracks: Path | None, video: Path | None) -> list[Output]:
    """The files asked for; tracks are YouTube-VIS JSON where the name ends in .json, else JSON lines.

    Raises ConfigError, and leaves nothing behind, when one cannot be written.
    """
    outputs: list[Output] = []
    try:
        if tracks is not None:
            outputs.append(_open_tracks(tracks))
        if video is not None:
            outputs.append(OverlayVideo(video))
    except SyncVISError:
        close_outputs(outputs, keep=False)
        raise
    return outputs


def _open_tracks(target: Path) -> Output:
    if target.suffix.lower() != ".json":
        return TracksFile(target)
    from stream.commands.youtube_vis import YoutubeVisFile

    return YoutubeVisFile(target)


def close_outputs(outputs: list[Output], *, keep: bool) -> None:
    """Complete them all, or remove them. One that fails is removed, the others are closed before it is
    said.
    """
    with ExitStack() as stack:
        for output in outputs:
            stack.callback(output.close, keep=keep)
