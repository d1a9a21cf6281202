from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.errors import ConfigError
from stream.sources import mask_text, mask_url, open_source, scrub
from stream.sources.urls import parse_address

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=0, max_size=12)
HOSTS = st.sampled_from(["cam", "10.0.0.7:554", "[::1]", "[fe80::1%25eth0]:8554", "cam.example:554"])
PATHS = st.sampled_from(["", "/", "/live/1", "/a:b/c", "?x=1", "/s?channel=1&subtype=0", "/a#b"])
SCHEMES = st.sampled_from(["rtsp", "rtsps", "RTSP", "http"])
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(SCHEMES, NAMES, PASSWORDS, PASSWORDS, HOSTS, PATHS, st.booleans())
def test_a_masked_url_does_not_depend_on_the_password(
    scheme: str, user: str, one: str, other: str, host: str, path: str, encoded: bool
) -> None:
    if encoded:
        one, other = quote(one, safe=""), quote(other, safe="")
    masked = [mask_url(f"{scheme}://{user}:{password}@{host}{path}") for password in (one, other)]
    assert masked[0] == masked[1] == f"{scheme}://{user}:***@{host}{path}"


@given(NAMES, PASSWORDS, HOSTS, PATHS, st.booleans())
def test_no_form_of_the_password_survives_in_an_error_text(
    user: str, rest: str, host: str, path: str, encoded: bool
) -> None:
    plain = "Zq7" + rest
    assume("".join(plain.split()) == plain)
    written = quote(plain, safe="") if encoded else plain
    url = f"rtsp://{user}:{written}@{host}{path}"
    text = f"error 5 opening '{url}' with {plain}\n({quote(plain, safe='')}) and rtsp://x:{plain}@other/"
    assert "Zq7" not in scrub(text, url)
    assert "\n" not in scrub(text, url)


@pytest.mark.parametrize(
    "url",
    ["rtsp://cam/live", "rtsp://admin@cam:554/live", "rtsp://[::1]:8554/a@b", "clip@home.mp4", "synthetic:7"],
)
def test_what_has_no_password_is_left_as_it_is(url: str) -> None:
    assert mask_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://cam/live?user=admin&password=hunter2",
        "rtsp://cam/user=admin_passwd=hunter2",
        "https://h/?TOKEN=hunter2",
    ],
)
def test_secrets_in_the_query_are_masked(url: str) -> None:
    assert "hunter2" not in mask_url(url)
    assert mask_url(url).startswith(url[:10])


def test_kinds_of_addresses() -> None:
    assert parse_address("rtsps://cam/1").kind == "rtsp"
    assert parse_address("/dev/video0").kind == "device"
    assert parse_address("/dev/videos/a.mp4").kind == "file"
    assert parse_address("file:///a%20b.mp4").location == "/a b.mp4"
    synthetic = parse_address("synthetic:12?level=easy&fps=12.5&size=320x192&frames=9").synthetic
    assert synthetic is not None
    assert (synthetic.seed, synthetic.level, synthetic.fps) == (12, "easy", 12.5)
    assert (synthetic.size, synthetic.frames) == ((320, 192), 9)


@pytest.mark.parametrize("address", ["admin:hunter2@cam/1", "rtsp:admin:hunter2@cam/1"])
def test_an_address_that_forgot_its_scheme_is_told_so(address: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean rtsp://admin:\*\*\*@cam/1 \?"):
        parse_address(address)
    assert parse_address("./a:b@c.mp4").kind == "file"


def test_the_password_is_not_in_the_repr_of_an_address() -> None:
    assert "hunter2" not in repr(parse_address("rtsp://admin:hunter2@cam/1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://admin:hunter2@cam/1",
        "rtmp://cam/1",
        "rtsp://",
        "rtsp:///path",
        "",
        "synthetic:",
        "synthetic:abc",
        "synthetic:1?speed=2",
        "synthetic:1?size=640",
        "synthetic:1?size=axb",
        "synthetic:1?size=1x2x3",
        "synthetic:1?fps=0",
        "synthetic:1?fps=nan",
        "synthetic:1?frames=0",
        "synthetic:1?level",
    ],
)
def test_any_other_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("door", url)
    assert mask_url(url) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "admin:hunter2@192.0.2.1/stream",
        "rtsp:/admin:hunter2@h/s",
        "rtsp:admin:hunter2@h",
        "RTSPS:admin:hunter2@h",
        "//admin:hunter2@h/x",
    ],
)
def test_an_address_with_a_damaged_scheme_shows_no_password_either(address: str) -> None:
    for shown in (mask_url(address), mask_text(f"{address}: no such file")):
        assert "hunter2" not in shown
        assert "admin:***@" in shown
