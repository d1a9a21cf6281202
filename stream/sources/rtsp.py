"""Live cameras: RTSP (TCP or UDP) and capture devices, each decoded by a process of its own.

Owns the FFmpeg options of a live source and the watch over its reader: a reader that dies, or that brings no
picture in time, is ended and becomes an error. Does not reconnect: that is the supervisor's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from stream.errors import StreamError
from stream.sources.base import DropCallback, IteratedSource, SourceOptions, ignore_drops
from stream.sources.errors import Failure, stream_error
from stream.sources.lag import Lag
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat
from stream.sources.reader import Reader, ReaderMessage
from stream.sources.urls import SourceAddress
from stream.types import DAMAGED, Frame

_GRACE_S = 1.0
"""While opening, FFmpeg's own time limits speak first: they know more about what went wrong. Then ours do: only here it
is known whether pictures came."""


class LiveSource(IteratedSource):
    """One connection to an RTSP server or a capture device. `check_peers` is told the addresses to which there is one,
    and raises StreamError where it must not be. See `Source`.
    """

    live = True

    def __init__(
        self,
        camera: str,
        address: SourceAddress,
        options: SourceOptions,
        tap: PacketTap | None = None,
        check_peers: Callable[[Sequence[str]], None] = lambda peers: None,
    ) -> None:
        self.camera = camera
        self.on_drop: DropCallback = ignore_drops
        self._address, self._options = address, options
        self._reader = Reader()
        self._tap = tap or PacketTap()
        self._check_peers = check_peers
        self._seq = 0
        self._lag = Lag()
        self._discontinuity = False
        self._started = False
        self._limit_s = options.open_timeout_s + _GRACE_S
        self._late = Failure("TimeoutError", timed_out=True)

    @property
    def reader_pid(self) -> int | None:
        """The process that decodes this camera, once it runs."""
        return self._reader.pid

    async def __anext__(self) -> Frame:
        """The next frame. Ends by an error or by `close`: a live stream has no end."""
        try:
            if not self._started:
                self._started = True
                await self._start()
            while True:
                message = await self._receive()
                if message.type == "opened":
                    self._check_peers(message.fields["peers"])
                    self._limit_s, self._late = self._options.keyframe_timeout_s, Failure("NoPicture")
                elif message.type == "frame":
                    self._limit_s, self._late = self._options.read_timeout_s, Failure("Stalled")
                    return self._frame(message)
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        try:
            await self._reader.start(self._order())
        except OSError as error:
            raise self._no_reader(error) from error
        self._tap.attach(self._reader.want_packets)

    def _no_reader(self, error: OSError) -> StreamError:
        """This machine has run out of something (descriptors, processes, memory): a matter of time, not the end."""
        return self._error(
            Failure("NoReader", f"its reader process cannot be started ({error.strerror or error})")
        )

    async def _receive(self) -> ReaderMessage:
        """The next message that says how the reader fares. Raises StreamError for failures."""
        deadline = time.monotonic() + self._limit_s
        while True:
            try:
                message = await self._reader.receive(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise self._error(self._late) from None
            except OSError as error:
                raise self._no_reader(error) from error
            if message is None:
                raise StopAsyncIteration if self._reader.closed else self._error(Failure("ReaderDied"))
            for cause, count in message.fields.pop("dropped", {}).items():
                self.on_drop(cause, count)
            if message.type == "error":
                raise self._error(Failure(**message.fields))
            if message.type == "ring":
                self._discontinuity = self._seq > 0
            elif not self._passed_on(message) and message.type in ("opened", "frame"):
                return message

    def _passed_on(self, message: ReaderMessage) -> bool:
        """Whether a message was about encoded pictures."""
        fields = message.fields
        if message.type == "video":
            self._tap.formatted(VideoFormat(fields["codec"], fields["profile"], fields["reordered"]))
        elif message.type == "packet":
            lost, time_base = fields.pop("lost"), Fraction(*fields.pop("time_base"))
            named = {name: fields[name] for name in ("arrival_s", "pts", "keyframe", "past")}
            self._tap.put(EncodedPacket(message.data, time_base=time_base, **named), lost)
        else:
            return False
        return True

    def _frame(self, message: ReaderMessage) -> Frame:
        assert message.image is not None
        fields = message.fields
        time_base, arrival_s = Fraction(*fields["time_base"]), fields["arrival_s"]
        lag_s = self._lag.of(float(fields["pts"] * time_base), arrival_s)
        limit_s = self._options.max_lag_s
        if limit_s is not None and self._lag.stays_above(limit_s, lag_s, arrival_s):
            raise self._error(Failure("Behind"))
        frame = Frame(
            camera=self.camera,
            seq=self._seq,
            pts=fields["pts"],
            time_base=time_base,
            captured_at_s=arrival_s,
            image=message.image,
            clock="arrival",
            discontinuity=self._discontinuity,
            flags=(DAMAGED,) if fields["damaged"] else (),
            lag_s=lag_s,
        )
        self._seq += 1
        self._discontinuity = False
        return frame

    def _error(self, failure: Failure) -> StreamError:
        return stream_error(failure, self._address.url, live=True)

    def _order(self) -> dict[str, Any]:
        options = self._options
        order: dict[str, Any] = {
            "url": self._address.location,
            "format": None,
            "options": {},
            "open_timeout_s": options.open_timeout_s,
            "read_timeout_s": options.read_timeout_s + _GRACE_S,
        }
        if self._address.kind == "device":
            order["format"] = "v4l2"
            return order
        order["options"] = {
            "rtsp_transport": options.transport,
            # Without these FFmpeg reads up to seconds of video to guess its rate, and hands them out late.
            # Size and parameters come with the session description or the first key frame.
            "fpsprobesize": "0",
            "analyzeduration": "100000",
            "probesize": "32",
            "timeout": str(int(options.open_timeout_s * 1e6)),
        }
        if options.transport == "udp":
            # A packet that is lost may hold back the ones behind it for so long, in microseconds.
            order["options"] |= {"max_delay": "100000", "buffer_size": str(options.udp_buffer_bytes)}
        return order

    async def close(self) -> None:
        """End the reader process; see `Source`."""
        self._tap.detach(self._reader.want_packets)
        await self._reader.close()
