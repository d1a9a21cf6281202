"""Encoded pictures on their way out of the reader: whole, in order, from an IDR picture on, bounded, and counted."""

from __future__ import annotations

import json
import mmap
import os
import socket
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from stream.sources.group import GROUP_PICTURES
from stream.sources.h264 import H264Look
from stream.sources.outbox import MESSAGE_BYTES
from stream.sources.packet_box import Packet, PacketBox

RING = 64
GROUP = 5
"""Pictures from one keyframe to the next."""

SPS = b"\0\0\0\1\x67\x42\xc0\x1e\xaa"
PPS = b"\0\0\0\1\x68\xce\x38\x80"
IDR = b"\0\0\1\x65\x11\x22"
SLICE = b"\0\0\1\x41\x33"


class Parent:
    """The other end: takes messages at once and copies pictures when it is told to."""

    def __init__(self, ring_bytes: int = RING) -> None:
        self.channel, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.box = PacketBox(self.theirs, ring_bytes)
        self.memory: mmap.mmap | None = None
        self.waiting: deque[dict] = deque()
        self.received: list[int] = []
        self.past: list[int] = []
        self.lost = 0
        self.put = 0

    def feed(self, size: int = 9) -> None:
        keyframe = self.put % GROUP == 0
        self.box.put(Packet(bytes([self.put % 256]) * size, 1.0 * self.put, self.put, keyframe=keyframe))
        self.put += 1

    def listen(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, 1)
            except BlockingIOError:
                return
            message = json.loads(data)
            if message["type"] == "packets":
                self.memory = mmap.mmap(fds[0], message["size"], prot=mmap.PROT_READ)
                os.close(fds[0])
            else:
                self.waiting.append(message)

    def copy(self) -> None:
        """Take the oldest one that waits, and check that it is the one that its message says."""
        self.listen()
        if not self.waiting:
            return
        message = self.waiting.popleft()
        assert self.memory is not None
        start = message["offset"]
        assert set(self.memory[start : start + message["size"]]) == {message["pts"] % 256}
        self.received.append(message["pts"])
        self.past.append(message["past"])
        self.lost += message["lost"]
        self.box.taken(1)

    def close(self) -> None:
        self.channel.close()
        self.theirs.close()


@given(st.lists(st.one_of(st.sampled_from(["copy", "on", "off"]), st.integers(1, RING + 2)), max_size=80))
def test_pictures_come_whole_and_in_order_and_none_without_those_that_it_needs(steps: list) -> None:
    parent = Parent()
    try:
        for step in steps:
            if step == "copy":
                parent.copy()
            elif step in ("on", "off"):
                parent.box.want(step == "on")
            else:
                parent.feed(step)
        for _ in range(len(steps)):
            parent.copy()
        for one, after in zip([None, *parent.received], parent.received, strict=False):
            assert after % GROUP == 0 or one == after - 1
    finally:
        parent.close()


def test_nothing_is_sent_while_nobody_wants_it_and_who_joins_gets_what_came_since_the_keyframe() -> None:
    parent = Parent()
    for _ in range(8):
        parent.feed(4)
    parent.listen()
    assert not parent.waiting
    assert parent.memory is None
    parent.box.want(True)
    parent.feed(4)
    for _ in range(9):
        parent.copy()
    assert parent.received == [5, 6, 7, 8]
    assert parent.past == [3, 2, 1, 0]
    parent.box.want(False)
    parent.feed(4)
    parent.listen()
    assert not parent.waiting
    parent.close()


def test_what_finds_no_room_is_lost_to_the_next_keyframe_and_counted() -> None:
    parent = Parent()
    parent.box.want(True)
    for _ in range(12):
        parent.feed(20)
    for _ in range(4):
        parent.copy()
    assert parent.received == [0, 1, 2]
    for _ in range(8):
        parent.feed(20)
        parent.copy()
    assert parent.received == [0, 1, 2, 15, 16, 17, 18, 19]
    assert parent.lost == 12
    parent.close()


def test_an_endless_group_of_pictures_is_not_kept() -> None:
    parent = Parent(1 << 16)
    box = parent.box
    box.put(Packet(b"k", 0.0, 0, keyframe=True))
    for number in range(GROUP_PICTURES + 50):
        box.put(Packet(b"p", 0.0, number + 1))
        assert len(box._group) <= GROUP_PICTURES
    assert not box._group
    parent.close()


def test_a_picture_to_join_at_gets_the_parameter_sets_that_it_lacks() -> None:
    look = H264Look(SPS + PPS)
    assert look.prefix(IDR) == SPS + PPS
    assert look.profile == "42c01e"
    high = SPS.replace(b"\x42\xc0\x1e", b"\x64\x00\x28")
    assert look.prefix(high + PPS + IDR) == b""
    assert look.profile == "640028"
    assert look.prefix(SLICE) is None, "recovery points are not joined at"
    assert H264Look().prefix(IDR) is None, "nothing says how to decode it"
