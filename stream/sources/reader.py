"""The parent's side of reader processes: starts them, takes their messages and pictures, ends them.

Owns the fork server (one for this process, started once, gone with it) and the channel to each reader. Never
blocks the event loop. Knows nothing about URLs or error kinds beyond what it passes on. Needs Linux: memory
without a name (memfd) and handles of processes (pidfd) make sure that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stream.sources.outbox import MESSAGE_BYTES
from syncvis_online.types import Image

_END_TIMEOUT_S = 1.0
_SERVER_END_TIMEOUT_S = 5.0


_NEEDED = re.compile(r"PATH|HOME|LANG|TZ|TMPDIR|VIRTUAL_ENV|SSL_CERT_(FILE|DIR)|(LC|LD|MALLOC)_.*|PYTHON.*")


def _environment() -> dict[str, str]:
    """What of ours a reader needs, with this package within reach, and without threads of NumPy's: they would not
    survive a fork. All else stays here: other cameras' passwords and tokens are there for the config.
    """
    needed = {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    return {**needed, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class ForkServer:
    """The small process from which readers are forked. Started when first needed, and again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start it if it does not run. Returns before it is ready: requests wait for it."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            with theirs:
                self._process = subprocess.Popen(
                    # -P: what lies in the current directory must not be taken for a module
                    [sys.executable, "-P", "-m", "stream.sources.reader_process", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env=_environment(),
                )
            undo.pop_all()
        self._control = ours
        return ours

    def fork_reader(self) -> socket.socket:
        """A channel to a new reader process, non-blocking. Raises OSError when the system has no more to give."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            with theirs, self._lock:
                try:
                    socket.send_fds(self._start(), [b"fork"], [theirs.fileno()])
                except OSError:  # it died since the last poll
                    self._stop()
                    socket.send_fds(self._start(), [b"fork"], [theirs.fileno()])
            ours.setblocking(False)
            undo.pop_all()
        return ours

    def stop(self) -> None:
        """End it; readers that run are not touched."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(_SERVER_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


_fork_server = ForkServer()
atexit.register(_fork_server.stop)


def warm_up() -> None:
    """Start, in the background, what makes the first camera open fast. Call it early; harmless to repeat."""
    _fork_server.start()


def cool_down() -> None:
    """End what `warm_up` started; it starts again when needed. Also done when the interpreter exits."""
    _fork_server.stop()


def _hang_up(forking: asyncio.Future[socket.socket]) -> None:
    """Close the channel to a reader that nobody waits for any more; the reader ends by that."""
    if not forking.cancelled() and forking.exception() is None:
        forking.result().close()


def _mapped(fd: int, size: int) -> mmap.mmap:
    """The memory behind a descriptor, to read; takes the descriptor."""
    try:
        return mmap.mmap(fd, size, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class ReaderMessage:
    """One message of a reader; `image` (H, W, 3) RGB uint8 is a copy of our own, only with type "frame", as is `data`,
    an encoded picture, with type "packet"."""

    type: str
    fields: dict[str, Any]
    image: Image | None = None
    data: bytes = b""


class Reader:
    """One reader process. `receive` is for one task; `close` may be called from another meanwhile."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._pidfd: int | None = None
        self._slots: Image | None = None
        self._packets: mmap.mmap | None = None
        self._to_say = bytearray(b"n")
        self._readable = asyncio.Event()
        self.pid: int | None = None
        """The reader's process id, once it has said hello."""
        self.closed = False

    async def start(self, order: dict[str, Any]) -> None:
        """Fork the reader and tell it what to read (see reader_process). Raises OSError as `fork_reader`."""
        forking = asyncio.ensure_future(asyncio.to_thread(_fork_server.fork_reader))
        try:
            channel = await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(_hang_up)
            raise
        if self.closed:
            channel.close()
            return
        self._channel = channel
        channel.send(json.dumps(order).encode())

    async def receive(self, timeout_s: float) -> ReaderMessage | None:
        """The next message, or None when the reader's process is gone or this is closed.

        Raises TimeoutError, and OSError when what came with a message cannot be had (descriptors, memory).

        Asking for it frees the slot of the picture before, so a picture is copied out before it is returned.
        """
        async with asyncio.timeout(timeout_s):
            while self._channel is not None:
                self._say(self._channel)
                with contextlib.suppress(BlockingIOError):
                    return self._take(self._channel)
                await self._wait_readable(self._channel)
        return None

    def want_packets(self, wanted: bool) -> None:
        """Encoded pictures are wanted from now on, or no longer."""
        self._to_say += b"p" if wanted else b"q"
        if self._channel is not None:
            self._say(self._channel)

    def _say(self, channel: socket.socket) -> None:
        if not self._to_say:
            return
        # If it died, what it sent before can still be received. If it is busy it hears this later.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            channel.send(self._to_say)
            self._to_say.clear()

    def _take(self, channel: socket.socket) -> ReaderMessage | None:
        try:
            data, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        except ConnectionResetError:
            # It ended before it heard us; what it said before, why among it, is there still.
            data, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        if not data:
            return None
        fields = json.loads(data)
        kind = fields.pop("type")
        if kind in ("hello", "ring", "packets") and not fds:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if kind == "hello":
            self.pid, self._pidfd = fields["pid"], fds[0]
        elif kind == "ring":
            self._map(fields, fds[0])
        elif kind == "frame":
            assert self._slots is not None
            self._to_say += b"n"
            return ReaderMessage(kind, fields, self._slots[fields["slot"]].copy())
        elif kind == "packets":
            self._packets = _mapped(fds[0], fields["size"])
        elif kind == "packet":
            assert self._packets is not None
            self._to_say += b"k"
            start = fields["offset"]
            return ReaderMessage(kind, fields, data=self._packets[start : start + fields["size"]])
        return ReaderMessage(kind, fields)

    def _map(self, fields: dict[str, Any], fd: int) -> None:
        shape = (fields["slots"], fields["height"], fields["width"], 3)
        self._slots = np.frombuffer(_mapped(fd, int(np.prod(shape))), dtype=np.uint8).reshape(shape)

    async def _wait_readable(self, channel: socket.socket) -> None:
        self._readable.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(channel.fileno(), self._readable.set)
        try:
            await self._readable.wait()
        finally:
            if self._channel is not None:  # else `close` has removed it: the number may be another's by now
                loop.remove_reader(channel.fileno())

    async def close(self) -> None:
        """Hang up: the reader takes leave of the server and ends, or is killed when it does not."""
        self.closed = True
        channel, self._channel = self._channel, None
        pidfd, self._pidfd = self._pidfd, None
        self._slots = self._packets = None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel.fileno())
            self._readable.set()
            channel.close()
        if pidfd is not None:
            try:
                await self._ended(pidfd)
            finally:
                os.close(pidfd)

    @staticmethod
    async def _ended(pidfd: int) -> None:
        """Wait until the process has ended (its descriptor is readable then); kill it if that takes long."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await ended.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            # In the kernel's hands (a device that hangs): it ends when that lets it go, and nobody waits.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _END_TIMEOUT_S)
        finally:
            loop.remove_reader(pidfd)
