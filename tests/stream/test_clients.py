"""One client cannot have more than its share, nor keep a connection by saying little."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from stream import clients
from stream.clients import MAX_HEADER_BYTES, ClientLimits, Connections, Rates, client_of
from stream.http_server import MAX_MESSAGE_BYTES
from stream.server import ServerOptions, create_app
from stream.webrtc.sessions import SessionLimits
from tests.stream.test_webrtc import SDP, Viewer, watched
from tests.stream.viewer_frames import make_picture, make_service, publishing, serving, until


def limited(**limits: Any) -> ServerOptions:
    return ServerOptions(clients=ClientLimits(**limits))


def sent_by(address: str) -> dict[str, str]:
    """The header by which a proxy on this machine says for whom it asks."""
    return {"X-Forwarded-For": address}


def client(host: str) -> str | None:
    return client_of(HTTPConnection({"type": "http", "client": (host, 1), "headers": []}))


@given(st.ip_addresses(network="2000::/3"))
def test_an_ipv6_client_is_the_network_that_it_was_given(address: Any) -> None:
    first = client(str(address))
    assert first == client(str(type(address)(int(address) ^ 1)))
    assert first != client(str(type(address)(int(address) ^ (1 << 64))))


def test_clients_are_addresses_and_this_machine_is_none() -> None:
    assert client("192.0.2.1") == client("::ffff:192.0.2.1") == "192.0.2.1"
    for here in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "testclient"):
        assert client(here) is None
    assert client_of(HTTPConnection({"type": "http", "client": None, "headers": []})) is None


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_no_client_gets_more_than_its_rate_and_who_waits_as_told_gets_one(
    pauses: list[float], per_s: float, burst: int
) -> None:
    now_s = 0.0
    rates = Rates(per_s, burst, lambda: now_s)
    taken = 0
    for i, pause_s in enumerate(pauses):
        now_s += pause_s
        wait_s = rates.take("a")
        taken += wait_s == 0
        assert taken <= burst + per_s * now_s + 1e-6
        assert rates.take(f"other {i}") == 0, "nobody pays for another"
    while (wait_s := rates.take("a")) == 0:
        pass
    now_s += wait_s + 1e-9
    assert rates.take("a") == 0


def test_so_many_clients_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MOST_CLIENTS", 10)
    rates = Rates(1, 1, lambda: 0.0)
    for i in range(100):
        rates.take(str(i))
    assert len(rates) == 10


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    service = make_service()
    async with (
        serving(create_app(service, limited(requests_per_s=0.1, burst=3))) as (_, address),
        httpx.AsyncClient(base_url=address) as http,
    ):
        answers = [await http.get("/healthz", headers=sent_by("203.0.113.5")) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        assert answers[-1].json() == {"detail": "too many requests"}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws{address[4:]}/api/tracks", additional_headers=sent_by("203.0.113.5")):
                pass
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["retry-after"]
        for other in ("203.0.113.6", "127.0.0.1"):
            assert (await http.get("/healthz", headers=sent_by(other))).status_code == 200
    assert service.registry.get_sample_value("syncvis_requests_refused_total", {"reason": "rate"}) == 3


async def test_who_is_no_proxy_is_not_believed_for_whom_it_asks() -> None:
    async with (
        serving(create_app(make_service(), limited(burst=1)), proxies=("192.0.2.7",)) as (_, address),
        httpx.AsyncClient(base_url=address) as http,
    ):
        for _ in range(3):
            assert (await http.get("/healthz", headers=sent_by("203.0.113.5"))).status_code == 200


async def test_a_client_has_so_many_connections_and_one_more_when_one_ends() -> None:
    service = make_service()
    async with serving(create_app(service, limited(connections=2))) as (_, address):
        url, mine = f"ws{address[4:]}/api/cameras/cam/tracks", sent_by("203.0.113.5")
        async with connect(url, additional_headers=mine), httpx.AsyncClient(base_url=address) as http:
            events = {"Accept": "text/event-stream", **mine}
            async with http.stream("GET", "/api/tracks", headers=events) as stream:
                assert stream.status_code == 200
                refused = await http.get("/healthz", headers=mine)
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                assert (await http.get("/healthz", headers=sent_by("203.0.113.6"))).status_code == 200
            await until(lambda: service.hub("cam").subscribers == 1)
            assert (await http.get("/healthz", headers=mine)).status_code == 200


async def test_a_client_has_so_many_sessions_and_others_have_theirs() -> None:
    options = ServerOptions(limits=SessionLimits(viewers=5, of_client=1))
    service = make_service()
    async with publishing(service), serving(create_app(service, options)) as (_, address):
        await until(lambda: service.hub("cam").latest is not None)
        async with httpx.AsyncClient(base_url=address) as http, Viewer(http) as viewer:
            offer = await viewer.offer()

            async def ask(client: str, path: str = "/whep/cam") -> httpx.Response:
                return await http.post(path, content=offer, headers=SDP | sent_by(client))

            first = await ask("203.0.113.5")
            refused = await ask("203.0.113.5")
            assert (first.status_code, refused.status_code) == (201, 429)
            assert refused.headers["retry-after"]
            assert (await ask("203.0.113.5", "/whep/cam?masks=data")).status_code == 429
            other = await ask("203.0.113.6")
            assert other.status_code == 201
            await http.delete(first.headers["location"])
            again = await ask("203.0.113.5", "/whep/cam?masks=data")
            assert again.status_code == 201
            for answer in (other, again):
                await http.delete(answer.headers["location"])


async def test_bodies_that_are_too_large_are_refused_wherever_they_are_sent() -> None:
    service = make_service()
    async with watched(limited(body_bytes=1000)) as server:
        for path in ("/session", "/api/cameras", "/whep/cam", "/nowhere"):
            answer = await server.http.post(path, content=b"x" * 1001)
            assert answer.status_code == 413, path
        assert (await server.http.post("/session", content=b"x" * 1000)).status_code == 401
    # Where its length is not said, it is counted by who reads it.
    async with serving(create_app(service)) as (_, address), httpx.AsyncClient(base_url=address) as http:
        service.hub("cam").publish(make_picture(1))

        async def endless() -> Any:
            for _ in range(64):
                yield b"x" * 65536

        with contextlib.suppress(httpx.WriteError):
            assert (await http.post("/whep/cam", content=endless(), headers=SDP)).status_code == 413


async def test_headers_and_messages_have_a_largest_size() -> None:
    service = make_service()
    async with serving(create_app(service)) as (_, address):
        async with httpx.AsyncClient(base_url=address) as http:
            for length, statuses in ((30_000, (200,)), (40_000, (400, 431)), (4_000_000, (400,))):
                cut = () if length < MAX_HEADER_BYTES else (httpx.ReadError, httpx.WriteError)
                with contextlib.suppress(*cut):  # before all was sent
                    answer = await http.get("/healthz", headers={"X-Long": "x" * length})
                    assert answer.status_code in statuses
        async with connect(f"ws{address[4:]}/api/tracks") as stream:
            await stream.send("x" * (MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionClosedError):
                await stream.recv()
            assert stream.close_code == 1009


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: ",
        b"POST /whep/cam HTTP/1.1\r\nHost: here\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv",
        b"GET /heal",
    ],
    ids=["nothing", "half a head", "half a body", "half a second request"],
)
async def test_who_does_not_end_a_request_is_cut_and_counted(said: bytes) -> None:
    service = make_service()
    service.hub("cam").publish(make_picture(1))
    slow = {"request_timeout_s": 0.2, "on_refuse": service.request_refused}
    async with serving(create_app(service), **slow) as (server, address):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1]))
        if said.startswith(b"GET /hea"):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            await reader.readuntil(b"}}")
        writer.write(said)
        # To the end of what the server has to say, which it is only for this time limit.
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: not server.server_state.connections)
    assert service.registry.get_sample_value("syncvis_requests_refused_total", {"reason": "slow"}) == 1


async def test_a_client_has_so_many_lines_also_if_it_says_nothing_on_them() -> None:
    service = make_service()
    options = {"connections": Connections(2, exempt=()), "on_refuse": service.request_refused}
    async with serving(create_app(service), **options) as (_, address):
        port = int(address.rsplit(":", 1)[1])
        # One that asks nothing, and one that became a WebSocket: there is room for no third.
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        async with connect(f"ws{address[4:]}/api/tracks"):
            reader, third = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            third.close()
        async with httpx.AsyncClient(base_url=address) as http:
            # The WebSocket's place is free when the server has seen its end.
            for _ in range(1000):
                with contextlib.suppress(httpx.TransportError):
                    assert (await http.get("/healthz")).status_code == 200
                    break
            else:
                pytest.fail("the place of a WebSocket that ended was not free again")
        silent.close()
    refused = service.registry.get_sample_value("syncvis_requests_refused_total", {"reason": "connections"})
    assert refused is not None
    assert refused >= 1


def test_connections_are_counted_by_client_and_forgotten_with_them() -> None:
    connections = Connections(2, exempt=("127.0.0.0/8", "192.0.2.0/24"))
    for host in ("127.0.0.1", "192.0.2.1", "", "a socket's path"):
        assert all(connections.enter(object(), host) for _ in range(5)), host
    first, second = object(), object()
    assert connections.enter(first, "2001:db8::1")
    assert connections.enter(second, "2001:db8::2"), "the same client"
    assert not connections.enter(object(), "2001:db8::3")
    assert connections.enter(object(), "2001:db8:1::3")
    connections.leave(first)
    connections.leave(first)
    assert connections.enter(object(), "2001:db8::3")
    assert not connections.enter(object(), "2001:db8::3")


async def test_who_has_asked_may_read_for_as_long_as_there_is_something() -> None:
    service = make_service()
    async with (
        serving(create_app(service), request_timeout_s=0.05) as (_, address),
        httpx.AsyncClient(base_url=address) as http,
        http.stream("GET", "/api/tracks", headers={"Accept": "text/event-stream"}) as stream,
        connect(f"ws{address[4:]}/api/tracks") as socket,
    ):
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, passed.set)  # four times what a request may take
        await passed.wait()
        service.hub("cam").publish(make_picture(1))
        assert await socket.recv()
        assert await anext(stream.aiter_lines())
