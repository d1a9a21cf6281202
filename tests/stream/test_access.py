"""Who may watch: nothing of a camera is given to anybody without a token where one is configured."""

from __future__ import annotations

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.access import COOKIE, Access
from stream.config import parse_config
from stream.errors import ConfigError
from stream.server import ServerOptions, create_app
from tests.stream.test_webrtc import SDP, Viewer, watched
from tests.stream.viewer_frames import make_picture, make_service, serving

TOKEN, OTHER = "0123456789abcdef-first", "0123456789abcdef-second"
OPTIONS = ServerOptions(tokens=(TOKEN, OTHER))
OPEN = {"/", "/healthz", "/metrics", "/session", "/openapi.json", "/api/schema/{name}.json"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_every_route_but_the_named_ones_wants_a_token() -> None:
    app = create_app(make_service(), OPTIONS)
    asked = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for path, methods in app.openapi()["paths"].items():
            if path in OPEN:
                continue
            for method in methods.keys() - {"options"}:
                answer = await http.request(method, path.format(camera="cam", session="x"))
                assert answer.status_code == 401, f"{method} {path}"
                assert answer.headers["www-authenticate"] == 'Bearer realm="syncvis-online"'
                asked += 1
    assert asked >= 7


async def test_each_token_opens_and_a_wrong_one_does_not() -> None:
    async with watched(OPTIONS) as server, Viewer(server.http) as viewer:
        offer = await viewer.offer()
        for token in (TOKEN, OTHER):
            answer = await server.http.post("/whep/cam", content=offer, headers={**SDP, **bearer(token)})
            assert answer.status_code == 201
            location = answer.headers["location"]
            assert (await server.http.delete(location)).status_code == 401
            assert (await server.http.delete(location, headers=bearer(token))).status_code == 200
        for wrong in (TOKEN[:-1], TOKEN + "x", "", "é"):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            answer = await server.http.get("/api/cameras", headers=headers)
            assert answer.status_code == 401
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        basic = await server.http.get("/api/cameras", headers={"Authorization": f"Basic {TOKEN}"})
        assert basic.status_code == 401


async def test_a_page_shows_the_token_once_and_its_cookie_is_not_the_token() -> None:
    async with watched(OPTIONS) as server:
        assert (await server.http.post("/session", headers=bearer("wrong"))).status_code == 401
        answer = await server.http.post("/session", headers=bearer(TOKEN))
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert (await server.http.get("/api/cameras")).status_code == 200, "the client keeps cookies"
        await server.http.delete("/session")
        assert (await server.http.get("/api/cameras")).status_code == 401
        server.http.cookies.set(COOKIE, "guessed")
        assert (await server.http.get("/api/cameras")).status_code == 401


async def test_the_websocket_wants_a_token_too() -> None:
    service = make_service()
    async with serving(create_app(service, OPTIONS)) as (_, address):
        service.hub("cam").publish(make_picture(1))
        url = f"{address.replace('http', 'ws')}/ws/cameras/cam/tracks"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url):
                pass
        assert refused.value.response.status_code == 401
        async with connect(url, additional_headers=bearer(OTHER)) as socket:
            assert await socket.recv()


async def test_without_tokens_everybody_may_watch_and_there_is_nothing_to_sign_in_to() -> None:
    assert Access().open
    async with watched() as server:
        assert (await server.http.get("/api/cameras")).status_code == 200
        assert (await server.http.post("/session", headers=bearer(TOKEN))).status_code == 401


@pytest.mark.parametrize("token", ["short", "a token with spaces in it", "ümläute-are-not-allowed"])
def test_tokens_that_cannot_be_are_refused_and_never_repeated(token: str) -> None:
    settings = {"cameras": {"a": {"url": "synthetic:1"}}, "server": {"tokens": [token]}}
    with pytest.raises(ConfigError, match=r"server\.tokens") as refused:
        parse_config(settings, "test")
    assert token not in str(refused.value)


def test_tokens_are_in_no_representation() -> None:
    settings = {"cameras": {"a": {"url": "synthetic:1"}}, "server": {"tokens": [TOKEN]}}
    assert TOKEN not in repr(parse_config(settings, "test"))
    assert TOKEN not in repr(OPTIONS)
