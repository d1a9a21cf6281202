"""No answer is without the headers that protect who gets it."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.clients import ClientLimits
from stream.security_headers import HEADERS, OWN_PAGES_ONLY
from stream.server import ServerOptions, create_app
from tests.stream.viewer_frames import make_service, serving

ALL = HEADERS | OWN_PAGES_ONLY
TOKEN = "0123456789abcdef-view"


def is_protected(answer: httpx.Response) -> bool:
    return all(answer.headers.get(name) == value for name, value in ALL.items())


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path, with names that there are none of."""
    found = {("GET", "/"), ("GET", "/static/app.js"), ("GET", "/openapi.json")}
    for path, methods in app.openapi()["paths"].items():
        named = path.format(camera="cam", session="x", name="tracks")
        found |= {(method.upper(), named) for method in methods}
    return sorted(found)


@pytest.mark.parametrize("options", [ServerOptions(), ServerOptions(tokens=(TOKEN,))], ids=["open", "tokens"])
async def test_every_route_has_them(options: ServerOptions) -> None:
    app = create_app(make_service(), options)
    routes = routes_of(app)
    assert len(routes) > 25
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for method, path in routes:
            assert is_protected(await http.request(method, path)), f"{method} {path}"


async def test_so_has_every_error() -> None:
    limits = ClientLimits(burst=5, requests_per_s=0.1)
    app = create_app(make_service(), ServerOptions(clients=limits, allowed_hosts=("127.0.0.1",)))

    @app.get("/defect")
    async def defect() -> None:
        raise KeyError("a defect")

    async with serving(app) as (_, address), httpx.AsyncClient(base_url=address) as http:
        asked = [
            (404, await http.get("/nowhere")),
            (405, await http.delete("/healthz")),
            (413, await http.post("/session", content=b"x" * 300_000)),
            (400, await http.get("/", headers={"Host": "evil.example"})),
            (422, await http.get("/api/tracks?min_score=x")),
            (500, await http.get("/defect")),
        ]
        mine = {"X-Forwarded-For": "203.0.113.5"}
        asked += [(429, [await http.get("/healthz", headers=mine) for _ in range(6)][-1])]
        for status, answer in asked:
            assert answer.status_code == status
            assert is_protected(answer), status


async def test_so_has_a_websocket_that_is_refused_and_that_is_no_error_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = create_app(make_service(), ServerOptions(tokens=(TOKEN,)))
    async with serving(app) as (_, address):
        asked = {
            "/api/tracks": 401,
            "/api/cameras/cam/pictures": 401,
            "/whep/cam/sessions/x/masks": 401,
            "/nowhere": 404,
            "/api/cameras/cam/pictures?size=huge": 422,
        }
        for path, status in asked.items():
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws{address[4:]}{path}"):
                    pass
            answer = refused.value.response
            assert answer.status_code == status, path
            assert all(answer.headers.get(name) == value for name, value in ALL.items()), path
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_only_named_sites_may_show_its_pictures_and_only_https_promises_https() -> None:
    app = create_app(make_service(), ServerOptions(origins=("https://example.org",)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        plain = await http.get("/api/cameras")
        assert "cross-origin-resource-policy" not in plain.headers
        assert "strict-transport-security" not in plain.headers
        assert (await http.get("https://test/api/cameras")).headers["strict-transport-security"]
