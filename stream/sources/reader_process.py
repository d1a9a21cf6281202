"""The process that decodes one live camera, and the small server that forks such processes.

Run as a module with the descriptor of a control socket: it imports PyAV and NumPy once and then forks one
reader for every socket that it is sent, so that a camera starts in milliseconds and no reader ever carries
torch, the main script or the parent's descriptors. A reader decodes into shared memory (an anonymous file
that vanishes with its last user) and talks over its socket, one JSON message a packet:

    to the reader   {"url", "format", "options", "open_timeout_s", "read_timeout_s"}, then letters: "n" for each frame
                    that the parent is ready to take (it has copied the one before); "p" and "q": encoded pictures
                    are wanted, or no longer; "k": it has copied one of those. End of file: end.
    to the parent   hello (+ pidfd), opened, ring (+ memory), frame, error; the last two carry "dropped", the
                    pictures given up since the one before, by cause; video (the format), packets (+ memory), packet

When the parent is slow the oldest undelivered picture is dropped and counted: what is delivered is never
older than the ring. Imports nothing of this project but the light modules beside it: it must start fast and stay small.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

import av
import numpy as np
from av.container.core import Flags

from stream.sources.coded_units import Coded
from stream.sources.damage import DamageLog
from stream.sources.h264_reading import H264Reading
from stream.sources.media_times import MediaTimes
from stream.sources.outbox import MESSAGE_BYTES, Outbox, send_message
from stream.sources.passing import Passing, Shown
from stream.sources.peers import connected_to
from stream.sources.whole_reading import WholeReading

LINGER_S = 0.4
"""How long a reader may take to say goodbye to the server once its parent has hung up."""
QUICK_S = 0.005
"""A packet that comes sooner than this after asking for it was waiting: it queued up while the stream was
opened."""
OPENING_S = 1.0
"""From the first picture on, opening takes no longer than this: where decoding is slower than the camera, a packet
always waits, and every picture would be an outdated one."""


class Reader:
    """Opens one camera, decodes it until it fails or the parent hangs up. Runs on the process's main
    thread."""

    def __init__(self, channel: socket.socket, order: dict[str, Any]) -> None:
        self._channel, self._order = channel, order
        self._outbox = Outbox(channel)
        self._passing = Passing(channel)
        self._unparsed = False
        self._stop = threading.Event()
        self._arrivals: dict[int | None, float] = {}
        self._times = MediaTimes()
        self._damage = DamageLog()
        self._opening = True
        self._opening_ends_s = float("inf")

    def run(self) -> None:
        """Read the camera; whatever ends it is told to the parent as an error message."""
        threading.Thread(target=self._listen, daemon=True).start()
        started, opened = time.monotonic(), False
        try:
            with self._damage, self._open() as container:
                opened = True
                failure = (self._read(container), "")
        except Exception as error:  # whatever it is, the parent decides what it means
            failure = (type(error).__name__, getattr(error, "strerror", None) or str(error))
            if not opened and failure[0] == "OSError" and not is_known(self._order["url"]):
                failure = ("UnknownHost", "")
        timed_out = not opened and time.monotonic() - started > 0.9 * self._order["open_timeout_s"]
        if not self._stop.is_set():
            self._outbox.fail(*failure, timed_out=timed_out)

    def _listen(self) -> None:
        """Hear the parent. When it hangs up or is gone: end, by force if FFmpeg does not come back."""
        with contextlib.suppress(ConnectionResetError):  # it hung up with a picture unread
            while letters := self._channel.recv(MESSAGE_BYTES):
                self._hear(letters)
        self._stop.set()
        time.sleep(LINGER_S)
        os._exit(0)

    def _hear(self, letters: bytes) -> None:
        if b"n" in letters:
            self._outbox.request()
        self._passing.packets.taken(letters.count(b"k"))
        for letter in letters:
            if letter in b"pq":
                self._passing.packets.want(letter == ord("p"))

    def _open(self) -> Any:
        order = self._order
        rtsp = order["format"] is None
        container = av.open(
            order["url"],
            format=order["format"],
            options=order["options"] | ({"fflags": "+noparse"} if rtsp else {}),
            timeout=(order["open_timeout_s"], order["read_timeout_s"]),
        )
        codecs = [stream.codec_context.name for stream in container.streams.video[:1]]
        self._unparsed = rtsp and codecs == ["h264"]  # see h264_reading
        if not self._unparsed:  # which codec it is could not be known before
            container.flags &= ~Flags.no_parse.value
        return container

    def _read(self, container: Any) -> str:
        """Decode until the stream ends; gives the name of what ended it."""
        if not container.streams.video:
            return "NoVideo"
        stream = container.streams.video[0]
        stream.codec_context.thread_type = (
            "NONE"  # frame threads hold back as many frames as there are threads
        )
        codec = stream.codec_context.name
        send_message(self._channel, {"type": "opened", "codec": codec, "peers": connected_to()})
        self._passing.begin(codec, stream.codec_context.extradata or b"")
        self._damage.forget()  # FFmpeg has tried to decode what it met while it opened the stream, part by part
        reading: H264Reading | WholeReading = WholeReading(stream.codec_context, self._damage, time.time())
        if self._unparsed:
            reading = H264Reading(stream.codec_context, self._damage, stream.time_base)
        for packet, now in self._packets_of(container, stream):
            for coded in reading.push(packet, now):
                self._show(coded)
        if not self._stop.is_set():
            for coded in reading.end():
                self._show(coded)
        return "EndOfStream"

    def _packets_of(self, container: Any, stream: Any) -> Iterator[tuple[Any, float]]:
        """Every packet and when it came, until the server hangs up or the parent does."""
        asked, pts = time.time(), None
        for packet in container.demux(stream):
            now = time.time()
            if self._stop.is_set() or packet.size == 0:  # FFmpeg's flush packet: the server hung up
                return
            if pts is None or packet.pts != pts:
                self._judge(now - asked)
            pts = packet.pts
            yield packet, now
            asked = time.time()

    def _judge(self, waited_s: float) -> None:
        """While opening: a packet that was there already makes the picture before it an outdated one."""
        if not self._opening:
            return
        if waited_s < QUICK_S and time.monotonic() < self._opening_ends_s:
            self._outbox.discard()
        else:
            self._opening = False
            self._outbox.release()

    def _show(self, coded: Coded) -> None:
        """Hand on an access unit and the pictures that came out of the decoder with it: it goes first."""
        if coded.corrupt:
            self._outbox.dropped("corrupt", coded.corrupt)
        self._arrivals[coded.unit.pts] = coded.unit.arrival_s
        timed = []
        for frame in coded.frames:
            arrival_s = self._arrival_of(frame.pts)
            timed.append(
                Shown(frame, arrival_s, self._times.next(frame.pts, float(frame.time_base), arrival_s))
            )
        self._passing.put(coded, timed)
        for frame, arrival_s, pts in timed:
            self._deliver(frame, arrival_s, pts, coded.damaged)

    def _arrival_of(self, pts: int | None) -> float:
        """When the packet of this picture arrived; forgets it and all before it."""
        arrival_s = self._arrivals.pop(pts, None)
        if pts is not None:
            for older in [key for key in self._arrivals if key is None or key < pts]:
                found = self._arrivals.pop(older)
                arrival_s = found if arrival_s is None else arrival_s
        while len(self._arrivals) > 64:  # timestamps that jumped back, never decoded
            self._arrivals.pop(next(iter(self._arrivals)))
        return time.time() if arrival_s is None else arrival_s

    def _deliver(self, frame: Any, arrival_s: float, pts: int, damaged: bool) -> None:
        index, slot = self._outbox.slot(frame.height, frame.width)
        plane = frame.reformat(format="rgb24").planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
        slot.reshape(frame.height, -1)[:] = rows[: frame.height, : frame.width * 3]
        if self._opening:
            self._opening_ends_s = min(self._opening_ends_s, time.monotonic() + OPENING_S)
            hold = self._outbox.hold()
            timer = threading.Timer(QUICK_S, self._outbox.release, (hold,))
            timer.daemon = True
            timer.start()
        base = frame.time_base
        frame_times = {"pts": pts, "time_base": [base.numerator, base.denominator]}
        self._outbox.publish(index, {**frame_times, "arrival_s": arrival_s, "damaged": damaged})


def is_known(url: str) -> bool:
    """Whether the host in a URL has an address. FFmpeg says "Input/output error" for hosts that have none."""
    try:
        host = urlsplit(url).hostname
        return not host or bool(socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False


def serve_camera(channel: socket.socket) -> None:
    """The whole life of a reader process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pidfd = os.pidfd_open(os.getpid())
    send_message(channel, {"type": "hello", "pid": os.getpid()}, (pidfd,))
    os.close(pidfd)
    order = channel.recv(MESSAGE_BYTES)
    if order:
        Reader(channel, json.loads(order)).run()


def serve(control: socket.socket) -> None:
    """Fork a reader for every socket that comes in; return when the parent hangs up."""
    # A reader that crashes leaves no image of its memory, in which its camera's password is.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; readers end when it hangs up
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    av.logging.set_level(None)
    while True:
        message, fds, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            return
        if not fds:  # no descriptor was free: the kernel has hung up for us
            continue
        # Where no process is to be had, hanging up tells the parent, which tries again.
        with socket.socket(fileno=fds[0]) as channel, contextlib.suppress(OSError):
            if os.fork() == 0:
                _be_a_reader(control, channel)


def _be_a_reader(control: socket.socket, channel: socket.socket) -> NoReturn:
    control.close()
    try:
        serve_camera(channel)
    except OSError:
        pass  # the parent is gone: nobody is left to tell
    finally:
        os._exit(0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        serve(listener)
