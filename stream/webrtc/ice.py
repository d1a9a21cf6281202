"""How peers reach this host: which addresses and ports it listens on, what it calls itself, and who relays.

Owns the seam to aioice, which binds any port of any address and knows no NAT. Does not know who connects, or why.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import time
from dataclasses import dataclass, field

from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1",)


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A TURN server (RFC 8656). `url`: turn:HOST[:PORT][?transport=udp|tcp] or turns:...

    With a `secret` that it shares, each peer gets credentials of its own, which end after `ttl_s` (TURN REST API,
    draft-uberti-behave-turn-rest; coturn's `use-auth-secret`); else all get `username` and `password`.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    ttl_s: float = 3600.0

    def credentials(self, now_s: float, name: str) -> tuple[str, str]:
        """User name and password for somebody, at this Unix time."""
        if not self.secret:
            return self.username, self.password
        username = f"{int(now_s + self.ttl_s)}:{name}"
        digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        return username, base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class IceOptions:
    """`addresses`: this host's own that are offered to peers, None for all but loopback. `ports`: the first and the
    last UDP port to listen on, None for any. `advertised`: the address that peers are told instead of those, where a
    NAT or a container's network passes the ports through. `stun`: stun:HOST[:PORT]. No server is asked unless it is
    named here.
    """

    addresses: tuple[str, ...] | None = LOOPBACK
    ports: tuple[int, int] | None = None
    advertised: str | None = None
    stun: str | None = None
    turn: TurnServer | None = None

    def configuration(self) -> RTCConfiguration:
        """What a peer connection of this host is made with."""
        return RTCConfiguration(iceServers=self._servers("server"))

    def links(self, name: str) -> list[str]:
        """Link headers that tell a peer, `name` being its session, of the servers (RFC 9725, section 4.6)."""
        links = []
        for server in self._servers(name):
            link = f'<{server.urls}>; rel="ice-server"'
            if server.username:
                link += f'; username="{server.username}"; credential="{server.credential}"'
                link += '; credential-type="password"'
            links.append(link)
        return links

    def _servers(self, name: str) -> list[RTCIceServer]:
        servers = [RTCIceServer(self.stun)] if self.stun else []
        if self.turn is not None:
            username, password = self.turn.credentials(time.time(), name)
            servers.append(RTCIceServer(self.turn.url, username, password))
        return servers


def listen_on(connection: RTCPeerConnection, options: IceOptions) -> None:
    """Let this connection, and no other, gather host candidates as `options` say.

    aioice has no options for it: the addresses are an argument of one method of each of its connections, which is
    replaced here before gathering starts.
    """
    transports = [t.receiver.transport.transport for t in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport.transport)
    for transport in transports:
        _Gatherer(transport.iceGatherer._connection, options).attach()


class _Gatherer:
    """Gathers candidates for one of aioice's connections."""

    def __init__(self, agent: Connection, options: IceOptions) -> None:
        self._agent = agent
        self._options = options
        self._gather = agent.get_component_candidates

    def attach(self) -> None:
        self._agent.get_component_candidates = self.candidates  # type: ignore[method-assign, assignment]

    async def candidates(self, component: int, addresses: list[str]) -> list[Candidate]:
        """As aioice's own, which goes on doing the rest: asking STUN and TURN servers."""
        chosen = addresses if self._options.addresses is None else list(self._options.addresses)
        if self._options.ports is None:
            found = await self._gather(component=component, addresses=chosen)
        else:
            found = [await self._bound(component, address, self._options.ports) for address in chosen]
            found += await self._gather(component=component, addresses=[])
        advertised = self._options.advertised
        if advertised is None:
            return found
        return [replace_host(each, advertised) if each.type == "host" else each for each in found]

    async def _bound(self, component: int, address: str, ports: tuple[int, int]) -> Candidate:
        """A host candidate on a free port of the range, tried from a random one on. Raises OSError if none is."""
        count = ports[1] - ports[0] + 1
        start = random.randrange(count)
        loop = asyncio.get_running_loop()
        for i in range(count):
            port = ports[0] + (start + i) % count
            try:
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: StunProtocol(self._agent), local_addr=(address, port)
                )
            except OSError:
                continue
            candidate = Candidate(
                foundation=candidate_foundation("host", "udp", address),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=address,
                port=port,
                type="host",
            )
            protocol.local_candidate = candidate
            self._agent._protocols.append(protocol)
            return candidate
        raise OSError(f"no UDP port from {ports[0]} to {ports[1]} is free on {address}")


def replace_host(candidate: Candidate, host: str) -> Candidate:
    """The candidate as peers are told of it, by another address."""
    return Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        transport=candidate.transport,
        priority=candidate.priority,
        host=host,
        port=candidate.port,
        type=candidate.type,
        generation=candidate.generation,
    )
