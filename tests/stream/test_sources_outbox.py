from __future__ import annotations

import json
import mmap
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.outbox import MESSAGE_BYTES, SLOTS, Outbox

HEIGHT, WIDTH = 4, 6


class Parent:
    """The other end: what was received, read from the shared memory at the time of asking for the next."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = theirs
        self.channel.setblocking(False)
        self.outbox = Outbox(theirs)
        self.pictures: np.ndarray | None = None
        self.received: list[int] = []
        self.dropped = 0
        self.published = 0

    def publish(self, height: int = HEIGHT, width: int = WIDTH) -> None:
        index, slot = self.outbox.slot(height, width)
        slot[:] = self.published % 251
        self.outbox.publish(index, {"number": self.published})
        self.published += 1

    def receive(self) -> None:
        """Take what has come; check that the picture is the one that its message says."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, 1)
            except BlockingIOError:
                return
            message = json.loads(data)
            if message["type"] == "ring":
                shape = (message["slots"], message["height"], message["width"], 3)
                memory = mmap.mmap(fds[0], int(np.prod(shape)), prot=mmap.PROT_READ)
                os.close(fds[0])
                self.pictures = np.frombuffer(memory, np.uint8).reshape(shape)
            else:
                self._take(message)

    def _take(self, message: dict) -> None:
        self.dropped += sum(message["dropped"].values())
        if message["type"] == "frame":
            assert self.pictures is not None
            assert (self.pictures[message["slot"]] == message["number"] % 251).all()
            self.received.append(message["number"])

    def close(self) -> None:
        self.channel.close()
        self.theirs.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    made.close()


@given(st.lists(st.sampled_from(["publish", "request", "receive"]), max_size=80))
def test_pictures_come_whole_in_order_and_none_is_lost_uncounted(steps: list[str]) -> None:
    parent = Parent()
    try:
        for step in steps:
            if step == "publish":
                parent.publish()
            elif step == "request":
                parent.receive()  # a parent asks for the next only when it has copied the one before
                parent.outbox.request()
            else:
                parent.receive()
        for _ in range(SLOTS + 1):
            parent.receive()
            parent.outbox.request()
        parent.outbox.fail("EndOfStream")
        parent.receive()
        assert parent.received == sorted(set(parent.received))
        assert len(parent.received) + parent.dropped == parent.published
        if parent.published:
            assert parent.received[-1] == parent.published - 1  # the newest is never the one that is dropped
    finally:
        parent.close()


def test_a_parent_that_was_away_gets_the_newest(parent: Parent) -> None:
    for _ in range(20):
        parent.publish()
    for _ in range(SLOTS):
        parent.outbox.request()
        parent.receive()
    assert parent.received == list(range(20 - SLOTS, 20))
    assert parent.dropped == 20 - SLOTS


def test_what_turns_out_to_be_outdated_is_never_sent(parent: Parent) -> None:
    parent.outbox.request()
    first = parent.outbox.hold()
    parent.publish()
    parent.outbox.discard()
    second = parent.outbox.hold()
    parent.publish()
    parent.outbox.release(first)  # the end of a hold that was renewed since
    parent.receive()
    assert parent.received == []
    parent.outbox.release(second)
    parent.receive()
    assert parent.received == [1]
    assert parent.dropped == 1


def test_a_new_picture_size_is_told_before_its_first_picture(parent: Parent) -> None:
    parent.outbox.request()
    parent.publish()
    parent.publish()
    parent.publish(HEIGHT * 2, WIDTH)
    parent.receive()
    parent.outbox.request()
    parent.receive()
    assert parent.received == [0, 2]
    assert parent.dropped == 1
    assert parent.pictures is not None
    assert parent.pictures.shape == (SLOTS, HEIGHT * 2, WIDTH, 3)


def test_a_parent_that_hung_up_is_nobody_to_tell(parent: Parent) -> None:
    parent.outbox.request()
    parent.channel.close()
    parent.publish()
    parent.outbox.fail("EndOfStream")
