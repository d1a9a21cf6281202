"""Who asks, and how much one client may ask for: requests a second, and how many at the same time.

Owns the count by client address; it is bounded, however many clients there are. A client is an IPv4 address, or an IPv6
network of 64 bits, which is what one is given. This machine's own programs are not limited: a proxy on it names its
clients in X-Forwarded-For, which the server reads of `server.proxies` only.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_HEADER_BYTES = 32 * 1024
"""Of a request's headers together."""
MOST_CLIENTS = 10_000
"""So many clients' rates are remembered; those that asked longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client may do.

    `requests_per_s`: on average, `burst` at once. `connections`: requests, streams and WebSockets at the same time.
    `body_bytes`: of a request.
    """

    requests_per_s: float = 50.0
    burst: int = 500
    connections: int = 256
    body_bytes: int = 256 * 1024


def client_of(connection: HTTPConnection) -> str | None:
    """The client that asks; None for this machine, and where it is not known (a Unix socket)."""
    return _client_at(connection.client.host if connection.client is not None else "")


def _client_at(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.IPv6Network((int(address) >> 64 << 64, 64))
            return None if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)


class Rates:
    """A token bucket for each client: `per_s` come in, `burst` are kept, each request takes one."""

    def __init__(self, per_s: float, burst: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._now_s = per_s, burst, now_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> float:
        """Take one for a request: 0, or in how many seconds there will be one."""
        now_s = self._now_s()
        left, at_s = self._buckets.pop(client, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._buckets[client] = (left - 1 if left >= 1 else left, now_s)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s


class Connections:
    """TCP connections of each client, `most` at a time; those from `exempt` addresses and networks are not counted."""

    def __init__(self, most: int, exempt: Iterable[str] = ("127.0.0.0/8", "::1")) -> None:
        self._most = most
        self._exempt = tuple(ipaddress.ip_network(each) for each in exempt)
        self._clients: dict[object, str] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, connection: object, host: str) -> bool:
        """Whether a connection from an address may stay."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return True
        if any(address in network for network in self._exempt):
            return True
        client = _client_at(host) or host
        if self._counts[client] >= self._most:
            return False
        self._clients[connection] = client
        self._counts[client] += 1
        return True

    def leave(self, connection: object) -> None:
        """It has ended. Idempotent."""
        client = self._clients.pop(connection, None)
        if client is not None:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


class LimitedClients:
    """An ASGI application that answers 429, with Retry-After, to a client that asks for more than it may have, 413 to a
    body that is said to be too large, 431 to too long headers; `on_refuse` is told a reason of `metrics.REFUSALS`. All
    else is `app`'s.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: ClientLimits,
        on_refuse: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._app, self._limits, self._on_refuse = app, limits, on_refuse
        self._rates = Rates(limits.requests_per_s, limits.burst)
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        client = client_of(connection)
        refusal = self._refusal(connection, client)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif client is None:
            await self._app(scope, receive, send)
        else:
            self._open[client] += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._open[client] -= 1
                if not self._open[client]:
                    del self._open[client]

    def _refusal(self, connection: HTTPConnection, client: str | None) -> JSONResponse | None:
        if client is not None:
            if (wait_s := self._rates.take(client)) > 0:
                return self._refuse("rate", 429, "too many requests", math.ceil(wait_s))
            if self._open[client] >= self._limits.connections:
                return self._refuse("connections", 429, "too many requests at the same time", 1)
        if sum(len(name) + len(value) for name, value in connection.headers.raw) > MAX_HEADER_BYTES:
            return self._refuse("head", 431, f"more than {MAX_HEADER_BYTES} bytes of headers")
        length = connection.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 15 or int(length) > self._limits.body_bytes):
            return self._refuse("body", 413, f"more than {self._limits.body_bytes} bytes")
        return None

    def _refuse(
        self, reason: str, status: int, detail: str, retry_after_s: int | None = None
    ) -> JSONResponse:
        self._on_refuse(reason)
        headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        return JSONResponse({"detail": detail}, status, headers)
