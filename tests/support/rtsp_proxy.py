"""A real RTSP connection through a network that can be made worse: a proxy on loopback between camera and client.

Owns the connections, both ways, and the UDP ports where media travels by UDP (it names its own in SETUP, and passes
datagrams on). What it does to the network is a matter of its attributes, at any time. Knows no fault by name.

    async with RtspProxy(server.port) as proxy:
        url = proxy.through(server.url(mount))
        proxy.rtp = Lossy(0.05)                # what becomes of each RTP packet: tests.support.rtp_faults
        proxy.cut()                            # all connections, by a reset
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

RtpFault = Callable[[bytes], bytes | None]
"""Given an RTP packet, what arrives instead; None: nothing does."""

Address = tuple[str, int]
HOST = "127.0.0.1"
CHUNK_BYTES = 8192
_INTERLEAVED = ord("$")
_CLIENT_PORTS = re.compile(rb"client_port=(\d+)-(\d+)")
_CONTENT_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


class RtspProxy:
    """`rtp`: what happens to media packets on their way to the client, over TCP and UDP. `silent`: nothing gets
    through any more, either way, and nobody is told. `delay_s`: what goes to the client takes so much longer.
    `bytes_per_s`: no more than this goes to the client of each connection. `garble`: what becomes of the bytes of the
    connection, framing and all, on their way to the client.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.rtp: RtpFault = bytes
        self.garble: Callable[[bytes], bytes] = bytes
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self._talking = asyncio.Event()
        self._talking.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._relays: list[_Relay] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def silent(self) -> bool:
        """Whether nothing gets through."""
        return not self._talking.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent:
            self._talking.clear()
        else:
            self._talking.set()

    def through(self, url: str, host: str = HOST) -> str:
        """The URL by which the server's is reached through this proxy; `host`: another name for this machine."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{host}:{self.port}").geturl()

    def cut(self) -> None:
        """Reset all connections, as a router does that has forgotten them."""
        for writer in tuple(self._writers):
            held = writer.get_extra_info("socket")
            with suppress(OSError):
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def relay(self, client_port: int) -> int:
        """Pass on media that comes to the port that this gives, to the client's port."""
        relay = _Relay(self, client_port)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: relay, local_addr=(HOST, 0))
        self._relays.append(relay)
        return relay.port

    async def talking(self) -> None:
        """Wait while nothing gets through."""
        await self._talking.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for relay in self._relays:
            relay.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(asyncio.CancelledError):  # by __aexit__; asyncio would complain of it
                await _connect(self, reader, writer, self._writers)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()


async def _connect(
    proxy: RtspProxy,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    writers: set[asyncio.StreamWriter],
) -> None:
    """One client's connection to its end, which is the end of both halves."""
    await proxy.talking()
    try:
        from_server, to_server = await asyncio.open_connection(HOST, proxy.server_port)
    except OSError:  # the server is away: the client sees its own connection end
        return
    writers.add(to_server)
    try:
        ways = (_upstream(proxy, reader, to_server), _downstream(proxy, from_server, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        writers.discard(to_server)
        to_server.close()


async def _upstream(proxy: RtspProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the client says; a SETUP for UDP names the proxy's ports instead of its own."""
    while data := await reader.read(CHUNK_BYTES):
        await proxy.talking()
        if (ports := _CLIENT_PORTS.search(data)) is not None:
            own = [await proxy.relay(int(port)) for port in ports.groups()]
            data = _CLIENT_PORTS.sub(b"client_port=%d-%d" % tuple(own), data)
        writer.write(data)
        await writer.drain()


async def _downstream(proxy: RtspProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the server says, later or slower or otherwise, as the proxy is told to."""
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)

    async def deliver() -> None:
        while True:
            due_s, data = await on_the_way.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await proxy.talking()
            if proxy.bytes_per_s is not None:
                await asyncio.sleep(len(data) / proxy.bytes_per_s)
            writer.write(proxy.garble(data))
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        async for message in _messages(reader):
            changed = _changed(proxy.rtp, message)
            if changed:
                # A queue before a throttle would only hide it: what waits there is what a router buffers.
                await on_the_way.put((loop.time() + proxy.delay_s, changed))
    finally:
        delivery.cancel()
        await asyncio.gather(delivery, return_exceptions=True)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The messages of a server: answers, and packets with their four bytes of framing (RFC 2326, 10.12)."""
    with suppress(asyncio.IncompleteReadError):
        while True:
            first = await reader.readexactly(1)
            if first[0] == _INTERLEAVED:
                rest = await reader.readexactly(3)
                yield first + rest + await reader.readexactly(int.from_bytes(rest[1:]))
            else:
                head = first + await reader.readuntil(b"\r\n\r\n")
                length = _CONTENT_LENGTH.search(head)
                yield head + await reader.readexactly(int(length[1]) if length else 0)


def _changed(fault: RtpFault, message: bytes) -> bytes | None:
    """The message as it arrives; media travels on even channels."""
    if message[0] != _INTERLEAVED or message[1] % 2:
        return message
    packet = fault(message[4:])
    return None if packet is None else message[:2] + len(packet).to_bytes(2) + packet


class _Relay(asyncio.DatagramProtocol):
    """Passes datagrams on to one port of the client, media as the proxy's fault has it."""

    def __init__(self, proxy: RtspProxy, client_port: int) -> None:
        self._proxy, self._client = proxy, (HOST, client_port)
        self._media = client_port % 2 == 0
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, _from: Address) -> None:
        if self._proxy.silent:
            return
        passed = self._proxy.rtp(data) if self._media else data
        if passed is not None:
            self._transport.sendto(passed, self._client)

    def close(self) -> None:
        """Pass on no more."""
        self._transport.close()
