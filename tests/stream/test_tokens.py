"""Tokens are made, kept as hashes, and turned into cookies that only the server can make."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from stream.access import COOKIE, COOKIE_AGE_S, Access
from stream.cli import main
from stream.config import parse_config
from stream.cookie_key import load_cookie_key
from stream.errors import ConfigError
from stream.server import ServerOptions
from stream.tokens import hashed
from tests.stream.test_access import bearer
from tests.stream.test_webrtc import watched

TOKEN, OTHER = "0123456789abcdef-first", "0123456789abcdef-second"
KEY = bytes(32)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"


@given(st.text(ALPHABET, min_size=16, max_size=80))
def test_what_is_kept_of_a_token_is_its_hash(token: str) -> None:
    kept = hashed(token)
    assert kept == "sha256:" + hashlib.sha256(token.encode()).hexdigest()
    assert hashed(kept) == hashed(kept.upper().replace("SHA", "sha")) == kept


@given(st.text() | st.text("abcdef0123456789").map(lambda text: f"sha256:{text[:63]}"))
def test_what_is_no_token_is_refused_without_repeating_it(text: str) -> None:
    if len(text) >= 16 and re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        return
    with pytest.raises(ValueError, match="a token is 16 or more") as refused:
        hashed(text)
    assert text not in str(refused.value) or len(text) < 8


def test_the_command_makes_another_token_each_time_and_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = []
    for _ in range(2):
        assert main(["token"]) == 0
        pairs.append(re.fullmatch(r"token: (\S+)\nhash: (\S+)\n", capsys.readouterr().out))
    assert all(pair is not None and hashed(pair[1]) == pair[2] and len(pair[1]) >= 43 for pair in pairs)
    assert len({pair[1] for pair in pairs if pair is not None}) == 2


def test_a_config_keeps_no_token() -> None:
    server = {name: [TOKEN] for name in ("tokens", "publish_tokens", "admin_tokens")}
    config = parse_config({"cameras": {"a": {"url": "synthetic:1"}}, "server": server}, "test")
    assert TOKEN not in config.model_dump_json()
    assert config.server.admin_tokens == (hashed(TOKEN),)


async def test_a_hash_in_the_config_lets_its_token_in_and_not_the_hash() -> None:
    async with watched(ServerOptions(tokens=(hashed(TOKEN),))) as server:
        for shown, status in ((TOKEN, 200), (hashed(TOKEN), 401), (OTHER, 401)):
            answer = await server.http.get("/api/cameras", headers=bearer(shown))
            assert answer.status_code == status


async def cookie_of(access: Access, token: str = TOKEN) -> str:
    """The cookie that a browser gets for a token."""
    app = FastAPI()
    app.include_router(access.router())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        answer = await http.post("/session", headers=bearer(token))
        assert answer.status_code == 204
        return answer.cookies[COOKIE]


def shows(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={cookie}".encode())]})


async def test_a_cookie_outlives_a_restart_with_the_same_key_and_token() -> None:
    cookie = await cookie_of(Access((TOKEN, OTHER), cookie_key=KEY))
    assert Access((hashed(TOKEN),), cookie_key=KEY).allows(shows(cookie))
    assert not Access((OTHER,), cookie_key=KEY).allows(shows(cookie)), "its token was taken out"
    assert not Access((TOKEN,), cookie_key=bytes(31) + b"1").allows(shows(cookie))
    assert not Access((TOKEN,)).allows(shows(cookie)), "each process has a key of its own otherwise"


async def test_a_cookie_ends_and_nobody_can_make_it_last() -> None:
    now_s = 1_700_000_000.0
    access = Access((TOKEN,), cookie_key=KEY, now_s=lambda: now_s)
    cookie = await cookie_of(access)
    ends, _, signed = cookie.partition(".")
    assert int(ends) == now_s + COOKIE_AGE_S
    assert access.allows(shows(cookie))
    assert not access.allows(shows(f"{int(ends) + 1}.{signed}"))
    now_s += COOKIE_AGE_S
    assert not access.allows(shows(cookie))


async def test_no_cookie_but_its_own_is_taken() -> None:
    access = Access((TOKEN,), cookie_key=KEY, now_s=lambda: 0.0)
    good = await cookie_of(access)
    for bad in ("", ".", "x", "9" * 5000 + ".x", f"²{good}", good[:-1], good.upper(), f"{good}0", f"0{good}"):
        assert not access.allows(shows(bad)), bad


def test_the_key_of_cookies_is_its_owner_s_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = load_cookie_key(folder)
    assert load_cookie_key(folder) == key
    assert len(set(key)) > 8
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"cookie\.key: damaged"):
        load_cookie_key(folder)
