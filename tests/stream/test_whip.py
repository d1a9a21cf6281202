"""WHIP as RFC 9725 wants it: each requirement of docs/whep.md that publishing adds, asked over HTTP."""

from __future__ import annotations

import asyncio
import random
import re
from itertools import pairwise

import pytest

from stream.app import WAITING
from stream.config import parse_config
from stream.errors import ConfigError
from stream.server import ServerOptions
from stream.sources.factory import open_source
from stream.stamp import read_stamp
from stream.webrtc.ice import IceOptions
from stream.webrtc.offer import MAX_OFFER_BYTES
from stream.webrtc.sessions import SessionLimits
from tests.stream.published import BEARER, TOKEN, VIEW_TOKEN, Published, Publisher, Stamped, published
from tests.stream.test_hostile_bodies import spoiled
from tests.stream.test_webrtc import SDP, Viewer
from tests.stream.test_whep import CANDIDATE, FRAGMENT, fragment
from tests.stream.viewer_frames import until

SITE = "https://studio.example"


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_what_is_published_is_tracked(codec: str) -> None:
    async with published() as server, Publisher(server.http) as publisher:
        assert (await server.state())["state"] == WAITING
        answer = await publisher.publish(codec)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/sdp"
        assert re.fullmatch(r"/whip/cam/sessions/[\w-]{22,}", publisher.location)
        assert re.fullmatch(r'"[^"]+"', answer.headers["etag"])
        assert re.findall(r"a=(recvonly|sendonly|sendrecv)", answer.text) == ["recvonly"]
        assert re.findall(r"a=setup:(\w+)", answer.text) == ["passive"]
        await until(lambda: len(server.seqs) >= 8)
        windows = [w for w in server.engine.windows if w.frames[-1].camera == "cam"]
        frames = [window.frames[-1] for window in windows]
        assert [frame.seq for frame in frames] == sorted(frame.seq for frame in frames)
        stamps = [read_stamp(frame.image) for frame in frames]
        assert None not in stamps
        assert stamps == sorted(stamps), "the pictures are those that were sent, in order"  # type: ignore[type-var]
        assert {frame.clock for frame in frames} == {"arrival"}
        assert all(one.pts < two.pts for one, two in pairwise(frames))
        state = await server.state()
        assert (state["state"], state["up"], state["last_error"]) == ("up", True, None)


async def test_sound_is_accepted_and_thrown_away() -> None:
    async with published() as server, Publisher(server.http, audio=True) as publisher:
        answer = await publisher.publish()
        assert len(re.findall(r"a=recvonly", answer.text)) == 2, "no section is refused"
        await until(lambda: server.seqs)


async def test_another_video_or_data_is_refused_whole() -> None:
    async with published() as server:
        for more in ("video", "data"):
            async with Publisher(server.http) as publisher:
                if more == "data":
                    publisher.peer.createDataChannel("x")
                else:
                    publisher.peer.addTransceiver(Stamped(), direction="sendonly")
                assert (await publisher.publish()).status_code == 422
        assert server.sessions == 0
        assert not server.service.cameras.doorways["cam"].occupied


async def test_a_second_publisher_is_refused_until_the_first_has_left() -> None:
    async with published() as server, Publisher(server.http) as first, Publisher(server.http) as second:
        await first.publish()
        refused = await second.publish()
        assert refused.status_code == 409
        assert int(refused.headers["retry-after"]) >= 1
        await until(lambda: server.seqs)
        assert (await server.http.delete(first.location)).status_code == 200
        assert (await server.http.delete(first.location)).status_code == 404
        assert (await second.publish()).status_code == 201


async def test_the_next_publisher_goes_on_with_the_camera() -> None:
    async with published() as server:
        for round_ in (1, 2):
            async with Publisher(server.http) as publisher:
                before = len(server.seqs)
                await publisher.publish()
                await until(lambda: len(server.seqs) >= before + 3)  # noqa: B023
                await server.http.delete(publisher.location)
            await until(lambda: not server.service.cameras["cam"].status().up)
            state = await server.state()
            assert (state["state"], state["last_error"], state["reconnects"]) == (WAITING, None, round_ - 1)
        assert server.seqs == sorted(set(server.seqs)), "numbers never go back"
        breaks = [w.after for w in server.engine.windows if w.frames[-1].camera == "cam" and w.after]
        assert breaks == ["gap"]
        assert "cam" not in server.engine.forgotten, "its identities go on"
        health = (await server.http.get("/healthz")).json()
        assert health["cameras"]["cam"] is False


async def test_a_publisher_that_says_nothing_more_makes_room() -> None:
    async with published(read_timeout_s=0.3) as server, Publisher(server.http) as publisher:
        await publisher.publish()
        await until(lambda: server.seqs)

        async def nothing(*_: object) -> None: ...

        publisher.peer.getSenders()[0].transport._send_rtp = nothing
        await until(lambda: server.sessions == 0)
        await until(lambda: not server.service.cameras.doorways["cam"].occupied)
        state = await server.state()
        assert state["state"] == WAITING
        assert "no more pictures came" in state["last_error"]


async def test_a_publisher_that_never_connects_is_forgotten() -> None:
    limits = SessionLimits(connect_timeout_s=0.05)
    async with (
        published(ServerOptions(publish_tokens=(TOKEN,), limits=limits)) as server,
        Publisher(server.http) as publisher,
    ):
        answer = await server.http.post("/whip/cam", content=await publisher.offer(), headers=SDP)
        assert answer.status_code == 201
        await until(lambda: server.sessions == 0)
        assert not server.service.cameras.doorways["cam"].occupied


async def test_lost_packets_cost_pictures_up_to_a_keyframe_that_is_asked_for() -> None:
    async with published() as server, Publisher(server.http) as publisher:
        asked = 0
        send = publisher.sender._send_keyframe

        def count() -> None:
            nonlocal asked
            asked += 1
            send()

        publisher.sender._send_keyframe = count
        await publisher.publish()
        await until(lambda: server.seqs)
        (session,) = server.app.state.publishers._sessions.values()
        receiver = session.connection.getTransceivers()[0].receiver
        take, lost = receiver._handle_rtp_packet, 0

        async def lossy(packet: object, arrival_time_ms: int) -> None:
            nonlocal lost
            lost += 1
            if lost > 5:
                receiver._handle_rtp_packet = take
                await take(packet, arrival_time_ms)

        receiver._handle_rtp_packet = lossy
        receiver._send_rtcp_nack = lambda *_: asyncio.sleep(0)  # and nothing is sent again
        before = asked
        await until(lambda: asked > before)
        count_before = len(server.seqs)
        await until(lambda: len(server.seqs) > count_before + 3)


async def test_who_may_publish() -> None:
    options = ServerOptions(tokens=(VIEW_TOKEN,), publish_tokens=(TOKEN,))
    async with published(options) as server, Publisher(server.http) as publisher:
        offer = await publisher.offer()
        del server.http.headers["Authorization"]
        viewer = {"Authorization": f"Bearer {VIEW_TOKEN}"}
        post = server.http.post
        nobody = await post("/whip/cam", content=offer, headers=SDP)
        assert nobody.status_code == 401
        assert nobody.headers["www-authenticate"] == 'Bearer realm="syncvis-online"'
        wrong = await post("/whip/cam", content=offer, headers={**SDP, "Authorization": "Bearer x"})
        assert wrong.status_code == 401
        refused = await post("/whip/cam", content=offer, headers={**SDP, **viewer})
        assert refused.status_code == 403
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert (await post("/session", headers=viewer)).status_code == 204
        with_cookie = await post("/whip/cam", content=offer, headers=SDP)
        assert with_cookie.status_code == 401, "a cookie publishes nothing"
        server.http.cookies.clear()
        answer = await post("/whip/cam", content=offer, headers={**SDP, **BEARER})
        assert answer.status_code == 201
        location = answer.headers["location"]
        assert (await server.http.delete(location)).status_code == 401
        assert (await server.http.delete(location, headers=viewer)).status_code == 403
        assert (await server.http.delete(location, headers=BEARER)).status_code == 200
        watching = await server.http.get("/api/cameras", headers=BEARER)
        assert watching.status_code == 403, "who may publish may not watch"


async def test_without_publish_tokens_nobody_may_publish() -> None:
    async with published(ServerOptions()) as server, Publisher(server.http) as publisher:
        assert (await publisher.publish()).status_code == 401
    settings = {"cameras": {"a": {"url": "whip:"}}}
    with pytest.raises(ConfigError, match="publish_tokens"):
        parse_config(settings, "test")


async def test_no_more_publishers_than_allowed() -> None:
    limits = SessionLimits(publishers=1)
    async with (
        published(ServerOptions(publish_tokens=(TOKEN,), limits=limits)) as server,
        Publisher(server.http) as first,
        Publisher(server.http) as second,
    ):
        await first.publish()
        refused = await second.publish()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1


async def test_only_published_cameras_take_publishers() -> None:
    async with published() as server, Publisher(server.http) as publisher:
        offer = await publisher.offer()
        for camera in ("other", "nobody"):
            answer = await server.http.post(f"/whip/{camera}", content=offer, headers=SDP)
            assert answer.status_code == 404
    with pytest.raises(ConfigError, match="serve"):
        open_source("cam", "whip:")


async def test_options_links_and_other_methods(stun: str) -> None:
    options = ServerOptions(publish_tokens=(TOKEN,), ice=IceOptions(stun=stun), origins=(SITE,))
    async with published(options) as server, Publisher(server.http) as publisher:
        answer = await publisher.publish()
        assert answer.headers.get_list("link") == [f'<{stun}>; rel="ice-server"']
        del server.http.headers["Authorization"]  # OPTIONS come without
        asked = await server.http.options("/whip/cam")
        assert (asked.status_code, asked.headers["accept-post"]) == (204, "application/sdp")
        asked = await server.http.options(publisher.location)
        assert (asked.status_code, asked.headers["accept-patch"]) == (204, FRAGMENT)
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await server.http.options("/whip/cam", headers={**ask, "Origin": SITE})
        assert preflight.headers["access-control-allow-origin"] == SITE
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            assert (await server.http.request(method, "/whip/cam")).status_code == 405
        for method in ("GET", "HEAD", "PUT", "POST"):
            assert (await server.http.request(method, publisher.location)).status_code == 405


async def test_candidates_trickle_in_as_for_viewers() -> None:
    async with published() as server, Publisher(server.http) as publisher:
        answer = await publisher.publish()
        body = fragment(publisher, CANDIDATE)  # type: ignore[arg-type]
        for match, code in ((None, 428), ('"x"', 412), ("*", 422), (answer.headers["etag"], 204)):
            headers = {"Content-Type": FRAGMENT} | ({} if match is None else {"If-Match": match})
            patched = await server.http.patch(publisher.location, content=body, headers=headers)
            assert patched.status_code == code
            assert "etag" not in patched.headers
        await until(lambda: server.seqs)


async def test_hostile_offers_are_refused_and_leave_the_place_free() -> None:
    rng = random.Random(3)
    async with published() as server, Publisher(server.http) as publisher:
        offer = await publisher.offer()
        post = server.http.post
        assert (await post("/whip/cam", content=offer)).status_code == 415
        assert (await post("/whip/cam", content=b"\xff", headers=SDP)).status_code == 400
        large = "v=0\r\n" + "a=x\r\n" * MAX_OFFER_BYTES
        assert (await post("/whip/cam", content=large, headers=SDP)).status_code == 413
        receiving = await post("/whip/cam", content=offer.replace("sendonly", "recvonly"), headers=SDP)
        assert receiving.status_code == 400
        for i in range(200):
            body = rng.randbytes(rng.randrange(2000)) if i % 10 == 0 else spoiled(offer, rng).encode()
            answer = await post("/whip/cam", content=body, headers=SDP)
            assert answer.status_code in (400, 422), body
            assert "\n" not in answer.json()["detail"]
        assert server.sessions == 0
        assert not server.service.cameras.doorways["cam"].occupied
        assert (await publisher.publish()).status_code == 201


async def test_what_is_published_can_be_watched() -> None:
    async with published() as server, Publisher(server.http) as publisher, Viewer(server.http) as viewer:
        await publisher.publish()
        await until(lambda: server.service.hub("cam").latest is not None)
        assert (await viewer.watch()).status_code == 201
        assert (await viewer.picture()).shape[2] == 3


async def pictures(server: Published) -> tuple[float, float]:
    """How many were passed on as they came, and how many encoded again."""
    found = {"passed": 0.0, "encoded": 0.0}
    for line in (await server.http.get("/metrics")).text.splitlines():
        name, _, value = line.rpartition(" ")
        for kind in found:
            if name.startswith(f'syncvis_pictures_{kind}_total{{camera="cam"'):
                found[kind] += float(value)
    return found["passed"], found["encoded"]


async def test_its_own_packets_are_for_viewers_with_masks_as_data() -> None:
    async with published() as server, Publisher(server.http) as publisher:
        await publisher.publish("H264")
        await until(lambda: server.seqs)
        passed = encoded = 0.0
        for _ in range(2):  # the second comes long after the only keyframe that was sent by itself
            async with Viewer(server.http) as viewer:
                assert (await viewer.watch(masks="data")).status_code == 201
                stamps, before = [], passed
                while passed == before:  # at first those since the keyframe, which are not counted
                    stamps.append(read_stamp(await viewer.picture()))
                    passed, encoded = await pictures(server)
                assert None not in stamps
                assert stamps == sorted(stamps)  # type: ignore[type-var]
                assert encoded == 0
                await server.http.delete(viewer.location)


async def test_what_cannot_be_passed_on_is_encoded_again() -> None:
    async with published() as server, Publisher(server.http) as publisher, Viewer(server.http) as viewer:
        await publisher.publish("VP8")
        await until(lambda: server.seqs)
        assert (await viewer.watch(masks="data")).status_code == 201
        assert read_stamp(await viewer.picture()) is not None
        passed, encoded = await pictures(server)
        assert passed == 0
        assert encoded >= 1
