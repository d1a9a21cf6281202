"""WHEP as its draft and RFC 9725 want it: each requirement of docs/whep.md, asked over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.config import parse_config
from stream.errors import ConfigError
from stream.server import ServerOptions
from stream.webrtc.ice import IceOptions, TurnServer
from stream.webrtc.sessions import SessionLimits
from stream.webrtc.trickle import MAX_CANDIDATES, MAX_FRAGMENT_BYTES, FragmentError, parse_fragment
from tests.stream.test_webrtc import SDP, Viewer, Watched, watched
from tests.stream.viewer_frames import until

FRAGMENT = "application/trickle-ice-sdpfrag"
CANDIDATE = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
DOCS = Path(__file__).parents[2] / "docs" / "whep.md"


def fragment(viewer: Viewer, *candidates: str, ufrag: str | None = None) -> str:
    """A fragment of the viewer's own generation of ICE."""
    sdp = viewer.peer.localDescription.sdp
    own = re.search(r"a=ice-ufrag:(\S+)", sdp)
    mid = re.search(r"a=mid:(\S+)", sdp)
    assert own
    assert mid
    lines = [f"a=ice-ufrag:{ufrag or own[1]}", "m=video 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid[1]}"]
    return "\r\n".join([*lines, *candidates, ""])


async def patched(
    server: Watched, viewer: Viewer, body: str, match: str | None, content_type: str = FRAGMENT
) -> httpx.Response:
    headers = {"Content-Type": content_type} | ({} if match is None else {"If-Match": match})
    return await server.http.patch(viewer.location, content=body, headers=headers)


async def test_the_answer_has_a_location_an_etag_and_the_media_type() -> None:
    async with watched() as server, Viewer(server.http) as one, Viewer(server.http) as two:
        first, second = await one.watch(), await two.watch()
        assert first.status_code == 201
        assert first.headers["content-type"] == "application/sdp"
        assert re.fullmatch(r'"[^"]+"', first.headers["etag"])
        assert first.headers["etag"] != second.headers["etag"]
        # 128 random bits: nobody guesses another one's session.
        assert re.fullmatch(r"/whep/cam/sessions/[\w-]{22,}", one.location)
        assert one.location != two.location


async def test_the_answer_leaves_it_to_the_viewer_to_begin_the_handshake() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        offer = await viewer.offer()
        for role, answered in (("actpass", "passive"), ("active", "passive"), ("passive", "active")):
            changed = offer.replace("a=setup:actpass", f"a=setup:{role}")
            answer = await server.http.post("/whep/cam", content=changed, headers=SDP)
            assert re.findall(r"a=setup:(\w+)", answer.text) == [answered]
            await server.http.delete(answer.headers["location"])


async def test_options_say_what_can_be_posted_and_patched() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        await viewer.watch()
        answers = [await server.http.options(url) for url in ("/whep/cam", viewer.location)]
        assert [answer.status_code for answer in answers] == [204, 204]
        assert answers[0].headers["accept-post"] == "application/sdp"
        assert answers[1].headers["accept-patch"] == FRAGMENT


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_other_methods_on_the_endpoint_are_405(method: str) -> None:
    async with watched() as server:
        refused = await server.http.request(method, "/whep/cam")
        assert refused.status_code == 405
        assert "POST" in refused.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_other_methods_on_a_session_are_405(method: str) -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        await viewer.watch()
        assert (await server.http.request(method, viewer.location)).status_code == 405


async def test_pages_of_named_sites_may_watch_and_of_others_may_not() -> None:
    options = ServerOptions(origins=("https://player.example",))
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with watched(options) as server, Viewer(server.http) as viewer:
        for origin, allowed in (("https://player.example", True), ("https://evil.example", False)):
            preflight = await server.http.options("/whep/cam", headers={**ask, "Origin": origin})
            assert ("access-control-allow-origin" in preflight.headers) == allowed
            assert (preflight.status_code == 200) == allowed
        headers = {**SDP, "Origin": "https://player.example"}
        answer = await server.http.post("/whep/cam", content=await viewer.offer(), headers=headers)
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"Location", "ETag", "Link"} <= exposed
    async with watched() as server:
        answer = await server.http.options("/whep/cam", headers={**ask, "Origin": "https://player.example"})
        assert "access-control-allow-origin" not in answer.headers, "no site is named"


async def test_candidates_that_trickle_in_connect_a_viewer_whose_offer_had_none() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        offer = await viewer.offer()
        lines = offer.splitlines()
        candidates = [line for line in lines if line.startswith("a=candidate") and " 127.0.0.1 " not in line]
        bare = "\r\n".join(line for line in lines if not line.startswith("a=candidate")) + "\r\n"
        answer = await server.http.post("/whep/cam", content=bare, headers=SDP)
        viewer.location = answer.headers["location"]
        taken = await patched(server, viewer, fragment(viewer, *candidates), answer.headers["etag"])
        assert taken.status_code == 204
        assert taken.content == b""
        (session,) = server.app.state.sessions._sessions.values()
        transport = session.connection.getTransceivers()[0].receiver.transport.transport
        known = {(c.ip, c.port) for c in transport.getRemoteCandidates()}
        assert known == {(line.split()[4], int(line.split()[5])) for line in candidates}


async def test_a_patch_needs_the_etag_of_its_session() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        body = fragment(viewer, CANDIDATE)
        assert (await patched(server, viewer, body, None)).status_code == 428
        assert (await patched(server, viewer, body, '"another"')).status_code == 412
        assert (await patched(server, viewer, body, f'"x", {answer.headers["etag"]}')).status_code == 204


async def test_an_ice_restart_is_refused_as_not_supported() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        assert (await patched(server, viewer, fragment(viewer, CANDIDATE), "*")).status_code == 422
        other = fragment(viewer, CANDIDATE, ufrag="another")
        assert (await patched(server, viewer, other, answer.headers["etag"])).status_code == 422
        await viewer.picture()


async def test_what_is_no_fragment_is_refused_and_changes_nothing() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        etag = (await viewer.watch()).headers["etag"]
        good = fragment(viewer, CANDIDATE)
        wrong_type = await patched(server, viewer, good, etag, "application/sdp")
        assert wrong_type.status_code == 415
        assert wrong_type.headers["accept-patch"] == FRAGMENT
        assert (await patched(server, viewer, "nonsense", etag)).status_code == 400
        assert (await patched(server, viewer, "", etag)).status_code == 400
        assert (await patched(server, viewer, "a=x\r\n" * MAX_FRAGMENT_BYTES, etag)).status_code == 413
        many = fragment(viewer, *[CANDIDATE] * (MAX_CANDIDATES // 2))
        codes = [(await patched(server, viewer, many, etag)).status_code for _ in range(3)]
        assert codes == [204, 204, 422], "a session does not grow without bound"
        await viewer.picture()
        gone = viewer.location
        await server.http.delete(gone)
        assert (await patched(server, viewer, good, etag)).status_code == 404


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["a=mid:0", CANDIDATE, "a=candidate:", "m=", "a=", "x"])).map("\n".join)
)
def test_a_fragment_is_read_whole_or_refused(text: str) -> None:
    with suppress(FragmentError):
        assert all(candidate.sdpMid is not None for candidate in parse_fragment(text).candidates)


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate:1 1 udp 2130706431 127.0.0.1 99999 typ host",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 -1 typ host",
        "a=candidate:1 7 udp 2130706431 127.0.0.1 9 typ host",
        "a=candidate:1 1 udp 99999999999 127.0.0.1 9 typ host",
        "a=candidate:1 1 udp 2130706431 example.org 9 typ host",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ nothing",
        "a=candidate:1 1 sctp 2130706431 127.0.0.1 9 typ host",
        "a=candidate:1 1 udp 2130706431",
    ],
)
def test_damaged_candidates_are_refused(line: str) -> None:
    with pytest.raises(FragmentError, match="malformed"):
        parse_fragment(f"m=video 9 x 0\r\na=mid:0\r\n{line}\r\n")


def test_candidates_of_no_use_are_left_out() -> None:
    hidden = CANDIDATE.replace("127.0.0.1", "3f6a3c1e.local")
    tcp = CANDIDATE.replace("udp", "tcp") + " tcptype active"
    read = parse_fragment(
        f"m=video 9 x 0\r\na=mid:0\r\n{hidden}\r\n{tcp}\r\n{CANDIDATE}\r\na=end-of-candidates\r\n"
    )
    assert [candidate.ip for candidate in read.candidates] == ["127.0.0.1"]


async def test_ice_servers_are_named_with_credentials_that_end() -> None:
    turn = TurnServer("turn:127.0.0.1:3478?transport=udp", secret="known to both", ttl_s=600.0)
    assert "known to both" not in repr(turn)
    links = IceOptions(stun="stun:127.0.0.1:3478", turn=turn).links("viewer")
    assert links[0] == '<stun:127.0.0.1:3478>; rel="ice-server"'
    parts = re.fullmatch(
        r'<turn:127\.0\.0\.1:3478\?transport=udp>; rel="ice-server"; '
        r'username="(\d+):viewer"; credential="([^"]+)"; credential-type="password"',
        links[1],
    )
    assert parts
    digest = hmac.new(b"known to both", f"{parts[1]}:viewer".encode(), hashlib.sha1).digest()
    assert base64.b64decode(parts[2]) == digest
    assert turn.credentials(1000.0, "x")[0] == "1600:x"
    fixed = TurnServer("turn:127.0.0.1:3478", "somebody", "password")
    assert fixed.credentials(0.0, "x") == ("somebody", "password")


async def test_links_are_headers_of_the_answer(stun: str) -> None:
    options = ServerOptions(ice=IceOptions(stun=stun))
    async with watched(options) as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        assert answer.headers.get_list("link")[0] == f'<{stun}>; rel="ice-server"'


async def test_only_ports_of_the_range_are_used_and_a_full_range_is_503() -> None:
    ports = (42_117, 42_118)
    options = ServerOptions(ice=IceOptions(ports=ports), limits=SessionLimits(viewers=10))
    async with watched(options) as server:
        viewers = [Viewer(server.http) for _ in range(3)]
        answers = [await viewer.watch() for viewer in viewers]
        used = [
            int(line.split()[5])
            for answer in answers[:2]
            for line in answer.text.splitlines()
            if line.startswith("a=candidate")
        ]
        assert sorted(used) == list(ports)
        assert answers[2].status_code == 503
        assert "42117" in answers[2].json()["detail"]
        assert server.sessions == 2
        await viewers[0].picture()
        await server.http.delete(viewers[0].location)
        retried = Viewer(server.http)
        assert (await retried.watch()).status_code == 201, "a port is free again"
        for viewer in (viewers[1], retried):
            await viewer.picture()  # who is connected says goodbye when it closes
        for viewer in (*viewers, retried):
            await viewer.peer.close()
        await until(lambda: server.sessions == 0)


async def test_the_advertised_address_is_told_instead_of_the_host_s_own() -> None:
    ice = IceOptions(ports=(42_119, 42_119), advertised="203.0.113.7")
    async with watched(ServerOptions(ice=ice)) as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        hosts = [line.split()[4:6] for line in answer.text.splitlines() if line.startswith("a=candidate")]
        assert hosts == [["203.0.113.7", "42119"]]


@pytest.mark.parametrize(
    ("webrtc", "message"),
    [
        ({"ports": [50_100, 50_000]}, "the first and the last"),
        ({"ports": [80, 90]}, "greater than or equal to 1024"),
        ({"advertised": "example.org"}, "advertised"),
        ({"stun": "http://example.org"}, "stun:HOST"),
        ({"turn": {"url": "turn:example.org"}}, "secret"),
        ({"turn": {"url": "turn:example.org", "secret": "known", "ttl_s": 1}}, "ttl_s"),
    ],
)
def test_settings_that_cannot_be_are_refused(webrtc: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse_config({"cameras": {"a": {"url": "synthetic:1"}}, "server": {"webrtc": webrtc}}, "test")
    assert "known" not in str(refused.value)


def test_every_requirement_of_the_table_names_a_test_that_is_there() -> None:
    """docs/whep.md: | requirement | where | what is done | `file::test` |."""
    heads = ("| requirement", "|---")
    lines = DOCS.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and not line.startswith(heads)]
    named = [re.findall(r"`([\w/]+\.py)::(\w+)`", row) for row in rows]
    assert len(rows) > 40
    root = DOCS.parents[1]
    for row, tests in zip(rows, named, strict=True):
        assert tests, row
        for file, test in tests:
            assert re.search(rf"def {test}\b", (root / "tests" / file).read_text()), f"{file}::{test}"
