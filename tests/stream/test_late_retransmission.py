"""A viewer that vanishes while masks are on their way to it is no error; another task's ConnectionError still is."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from stream.webrtc.late_retransmission import expect_late_retransmissions


async def connected(ours: RTCPeerConnection, theirs: RTCPeerConnection) -> None:
    """Let two peers have a data channel."""
    channel, opened = ours.createDataChannel("masks"), asyncio.Event()
    channel.on("open", opened.set)
    await ours.setLocalDescription(await ours.createOffer())
    await theirs.setRemoteDescription(ours.localDescription)
    await theirs.setLocalDescription(await theirs.createAnswer())
    await ours.setRemoteDescription(theirs.localDescription)
    await opened.wait()


async def ended_unseen(coroutine: str) -> None:
    """Let the one task of that coroutine end, and nobody ever look at how."""
    await asyncio.wait([task for task in asyncio.all_tasks() if coroutine in repr(task.get_coro())])
    gc.collect()


@pytest.mark.timeout(60)
async def test_a_retransmission_after_the_end_is_no_error_and_other_tasks_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    expect_late_retransmissions(asyncio.get_running_loop())
    ours, theirs = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    try:
        await connected(ours, theirs)
        sctp = ours.sctp
        assert sctp is not None
        dtls, closed = sctp.transport, asyncio.Event()
        dtls.on("statechange", lambda: closed.set() if dtls.state == "closed" else None)
        await dtls.transport.stop()  # as when the peer's consent has expired
        await closed.wait()
        with pytest.raises(ConnectionError):
            await sctp._send(0, 51, b"a mask")
        sctp._t3_expired()  # it was on its way when the peer went
        await ended_unseen("_transmit")
    finally:
        await ours.close()
        await theirs.close()
    assert [r.levelname for r in caplog.records if "was not sent again" in r.message] == ["DEBUG"]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]

    async def fails() -> None:
        raise ConnectionError("of somebody else")

    asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(fails()))  # nobody holds it
    await asyncio.sleep(0)
    await ended_unseen("fails")
    assert [r.levelname for r in caplog.records if "never retrieved" in r.message] == ["ERROR"]
