"""The reader's end of the camera's own encoded pictures, for viewers who get them as they are.

Owns a second ring of shared memory, what may be written into it, and the pictures since the newest IDR picture, with
which somebody who joins begins. While nobody watches nothing is copied or sent: PyAV's packets are kept, not their
bytes. Knows nothing about cameras, decoding or viewers.
"""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from stream.sources.group import Group
from stream.sources.outbox import send_message

RING_BYTES = 4 << 20
"""A second of 32 Mbit/s."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded picture. `data`: anything that has bytes; `prefix`: parameter sets that belong before it; `pts`, in
    `time_base` (numerator and denominator): of the decoded picture, None where there is none.
    """

    data: Any
    arrival_s: float
    pts: int | None = None
    time_base: tuple[int, int] = (1, 90_000)
    keyframe: bool = False
    prefix: bytes = b""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.prefix) + memoryview(self.data).nbytes


class PacketBox:
    """Encoded pictures on their way to the parent, oldest first, without a hole. Thread-safe.

    A picture that finds no room is lost, and with it all up to the next IDR picture; they are counted, and told with
    the next one that is sent.
    """

    def __init__(self, channel: socket.socket, ring_bytes: int = RING_BYTES) -> None:
        self._channel = channel
        self._ring_bytes = ring_bytes
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None
        self._out: deque[tuple[int, int]] = deque()
        """Offset and size of what the parent has not copied yet."""
        self._group: Group[Packet] = Group()
        self._wanted = self._joined = self._following = False
        self._lost = 0

    def want(self, wanted: bool) -> None:
        """Somebody watches, or nobody does any more. The pictures since the IDR picture go out with the next one."""
        with self._lock:
            self._joined = wanted
            self._wanted = self._wanted and wanted
            if not wanted:
                self._following, self._lost = False, 0

    def taken(self, count: int) -> None:
        """The parent has copied that many more."""
        with self._lock:
            for _ in range(min(count, len(self._out))):
                self._out.popleft()

    def put(self, packet: Packet) -> None:
        """The newest picture. Waits only while the socket is full."""
        with self._lock:
            self._group.add(packet, packet.size, keyframe=packet.keyframe)
            if self._joined and not self._wanted:
                self._wanted = True
                past = list(self._group)[:-1]
                for i, older in enumerate(past):
                    self._send(older, len(past) - i)
            if self._wanted:
                self._send(packet, 0)

    def _send(self, packet: Packet, past: int) -> None:
        """`past`: how many older than the newest one are still to come, this one included."""
        if not (self._following or packet.keyframe):
            self._lost += 1
            return
        size = packet.size
        offset = self._room(size)
        self._following = offset is not None
        if offset is None:
            self._lost += 1
            return
        memory = self._memory or self._open()
        split = offset + len(packet.prefix)
        memory[offset:split] = packet.prefix
        memory[split : offset + size] = bytes(packet.data)
        self._out.append((offset, size))
        fields: dict[str, Any] = {
            "offset": offset,
            "size": size,
            "pts": packet.pts,
            "arrival_s": packet.arrival_s,
        }
        fields |= {
            "time_base": packet.time_base,
            "keyframe": packet.keyframe,
            "past": past,
            "lost": self._lost,
        }
        self._lost = 0
        send_message(self._channel, {"type": "packet", **fields})

    def _open(self) -> mmap.mmap:
        fd = os.memfd_create("packets", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, self._ring_bytes)
            self._memory = mmap.mmap(fd, self._ring_bytes)
            send_message(self._channel, {"type": "packets", "size": self._ring_bytes}, (fd,))
        finally:
            os.close(fd)
        return self._memory

    def _room(self, size: int) -> int | None:
        """Where `size` bytes in a row are free, after the newest or at the start; None where they are not."""
        if not self._out:
            return 0 if size <= self._ring_bytes else None
        first, end = self._out[0][0], sum(self._out[-1])
        if end <= first:  # what waits goes around the end
            return end if size <= first - end else None
        if size <= self._ring_bytes - end:
            return end
        return 0 if size <= first else None
