"""The reader's end of shared memory: which pictures wait for the parent, and which are given up.

Owns the ring and the messages about it (see reader_process). Knows nothing about cameras or decoding.
"""

from __future__ import annotations

import array
import contextlib
import json
import mmap
import os
import socket
import threading
from collections import deque
from typing import Any

import numpy as np

SLOTS = 4
"""One picture with the parent, one being written, two waiting: what is delivered is never older than that."""
MESSAGE_BYTES = 65536
"""No message is longer."""


def send_message(channel: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one message, and descriptors with it; to nobody when the parent has hung up."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        channel.sendmsg([json.dumps(message).encode()], ancillary)


class Outbox:
    """The ring of pictures in shared memory, and which of them may be sent. Thread-safe.

    At most one picture is with the parent (being copied), one being written, the rest waiting, oldest first.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._shape = (0, 0)
        self._slots: list[np.ndarray[Any, Any]] = []
        self._free: list[int] = []
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._taken: int | None = None
        self._wanted = False
        self._held = False
        self._hold_number = 0
        self._dropped: dict[str, int] = {}

    def slot(self, height: int, width: int) -> tuple[int, np.ndarray[Any, Any]]:
        """A slot to write a picture (height, width, 3) uint8 into, taken from the oldest waiting one if
        need be."""
        with self._lock:
            if self._shape != (height, width):
                self._resize(height, width)
            if not self._free:
                self._free.append(self._waiting.popleft()[0])
                self._count("reader_backlog", 1)
            index = self._free.pop()
            return index, self._slots[index]

    def _resize(self, height: int, width: int) -> None:
        self._count("reader_backlog", len(self._waiting))
        size = height * width * 3
        fd = os.memfd_create("frames", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, SLOTS * size)
            memory = mmap.mmap(fd, SLOTS * size)
            send_message(
                self._channel, {"type": "ring", "height": height, "width": width, "slots": SLOTS}, (fd,)
            )
        finally:
            os.close(fd)
        pictures = np.frombuffer(memory, dtype=np.uint8).reshape(SLOTS, height, width, 3)
        self._shape, self._slots = (height, width), list(pictures)
        self._free, self._taken = list(range(SLOTS)), None
        self._waiting.clear()

    def publish(self, index: int, frame: dict[str, Any]) -> None:
        """The picture in this slot is complete: send it when the parent wants one."""
        with self._lock:
            self._waiting.append((index, frame))
            self._send()

    def request(self) -> None:
        """The parent has copied the picture that it was sent, if any, and wants the next."""
        with self._lock:
            if self._taken is not None:
                self._free.append(self._taken)
                self._taken = None
            self._wanted = True
            self._send()

    def _send(self) -> None:
        if self._wanted and self._waiting and not self._held:
            self._taken, frame = self._waiting.popleft()
            self._wanted = False
            self._tell({"type": "frame", "slot": self._taken, **frame})

    def hold(self) -> int:
        """Keep what waits for a moment: it may turn out to be outdated. Gives a number for `release`."""
        with self._lock:
            self._held = True
            self._hold_number += 1
            return self._hold_number

    def release(self, number: int | None = None) -> None:
        """End the hold of that number, unless it was renewed since; without a number, end any."""
        with self._lock:
            if number is None or number == self._hold_number:
                self._held = False
                self._send()

    def discard(self) -> None:
        """Drop what waits: it is outdated. Its hold goes on."""
        with self._lock:
            self._hold_number += 1
            self._free += [index for index, _ in self._waiting]
            self._count("opening", len(self._waiting))
            self._waiting.clear()

    def dropped(self, cause: str, count: int) -> None:
        """Count pictures that the parent will not get; it is told with the next one that it does get."""
        with self._lock:
            self._count(cause, count)

    def _count(self, cause: str, count: int) -> None:
        if count:
            self._dropped[cause] = self._dropped.get(cause, 0) + count

    def fail(self, name: str, text: str = "", *, timed_out: bool = False) -> None:
        """Tell the parent why this reader ends."""
        with self._lock:
            self._tell({"type": "error", "name": name, "text": text, "timed_out": timed_out})

    def _tell(self, message: dict[str, Any]) -> None:
        dropped, self._dropped = self._dropped, {}
        send_message(self._channel, {**message, "dropped": dropped})
