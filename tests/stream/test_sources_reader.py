"""The parent's end of the channel to a reader process, with the other end in the test's hands."""

from __future__ import annotations

import asyncio
import socket

import pytest

from stream.sources import reader as readers
from stream.sources.outbox import Outbox
from stream.sources.reader import Reader


async def test_why_a_reader_ended_is_heard_though_it_never_heard_us(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    monkeypatch.setattr(readers._fork_server, "fork_reader", lambda: ours)
    reader = Reader()
    await reader.start({"url": "rtsp://cam/1"})
    waiting = asyncio.create_task(reader.receive(5))
    await asyncio.wait([waiting], timeout=0)
    Outbox(theirs).fail("HTTPUnauthorizedError")
    theirs.close()  # with what we said unread: the system tells us of a reset first
    message = await waiting
    assert message is not None
    assert message.fields["name"] == "HTTPUnauthorizedError"
    assert await reader.receive(5) is None
    await reader.close()
