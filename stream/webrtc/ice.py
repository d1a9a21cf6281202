"""On which of this host's addresses a peer connection is reached.

Owns the seam to aioice. Does not know who connects, or why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from aiortc import RTCPeerConnection

LOOPBACK = ("127.0.0.1",)


def restrict_addresses(connection: RTCPeerConnection, addresses: Sequence[str] | None) -> None:
    """Let this connection, and no other, gather candidates on `addresses` only.

    aioice has no option for it: the addresses are an argument of one method of each of its connections, which
    is wrapped here before gathering starts. Loopback cannot be offered in another way.
    """
    if addresses is None:
        return
    chosen = list(addresses)
    transports = [t.receiver.transport.transport for t in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport.transport)
    for transport in transports:
        agent = transport.iceGatherer._connection
        gather = partial(_gather_on, agent.get_component_candidates, chosen)
        agent.get_component_candidates = gather  # type: ignore[method-assign]


async def _gather_on(
    gather: Callable[..., Awaitable[Any]], chosen: list[str], component: int, addresses: list[str]
) -> Any:
    return await gather(component=component, addresses=chosen)
