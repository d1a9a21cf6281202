"""Watching over WHEP with a client that is not a browser: pictures come, sessions end, nothing is left."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtpPacket,
    pack_remb_fci,
)
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.app import Service
from stream.server import ServerOptions, create_app
from stream.stamp import read_stamp
from stream.webrtc.feed import KEYFRAME_INTERVAL_S
from stream.webrtc.offer import MAX_OFFER_BYTES, OfferError, check_offer
from stream.webrtc.sessions import SessionLimits
from tests.stream.viewer_frames import make_picture, make_service, publishing, until

SDP = {"Content-Type": "application/sdp"}


@dataclass
class Watched:
    """A server that is asked in-process, with a camera that is publishing."""

    app: FastAPI
    service: Service
    http: httpx.AsyncClient

    @property
    def sessions(self) -> int:
        return len(self.app.state.sessions)


@asynccontextmanager
async def watched(options: ServerOptions | None = None, *, live: bool = True) -> AsyncIterator[Watched]:
    service = make_service()
    app = create_app(service, options)
    async with (
        publishing(service) if live else nullcontext(),
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
    ):
        if live:
            await until(lambda: service.hub("cam").latest is not None)
        yield Watched(app, service, http)
    assert service.hub("cam").subscribers == 0, "somebody still reads the camera"


class Viewer:
    """A WHEP client."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver = self.peer.addTransceiver("video", direction="recvonly").receiver
        self.location = ""

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def watch(self, codec: str = "", masks: str = "overlay") -> httpx.Response:
        offer = await self.offer()
        answer = await self.http.post(f"/whep/cam?masks={masks}", content=only(offer, codec), headers=SDP)
        if answer.status_code == 201:
            self.location = answer.headers["location"]
            await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer

    async def picture(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return (await self.receiver.track.recv()).to_ndarray(format="rgb24")

    async def __aenter__(self) -> Viewer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peer.close()


def only(offer: str, codec: str) -> str:
    """The offer with payload types of one codec alone; all of them where it is empty."""
    if not codec:
        return offer
    types = [line.split(":")[1].split(" ")[0] for line in offer.splitlines() if f" {codec}/90000" in line]
    lines = []
    for line in offer.splitlines():
        if line.startswith("m=video"):
            line = " ".join([*line.split(" ")[:3], *types])
        prefix, _, rest = line.partition(":")
        if prefix in ("a=rtpmap", "a=fmtp", "a=rtcp-fb") and rest.split(" ")[0] not in types:
            continue
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("codec", ["", "VP8"])
async def test_a_viewer_sees_the_overlay_of_known_frames(codec: str) -> None:
    async with watched(ServerOptions(frame_stamp=True)) as server, Viewer(server.http) as viewer:
        answer = await viewer.watch(codec)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/sdp"
        codecs = re.findall(r"a=rtpmap:\d+ (VP8|H264)/", answer.text)
        assert codecs[0] == (codec or "H264"), "H.264 is preferred where it is offered"
        seqs = []
        for _ in range(8):
            picture = await viewer.picture()
            seq = read_stamp(picture)
            assert seq is not None
            seqs.append(seq)
            frame = make_picture(seq)
        assert seqs == sorted(seqs)
        assert np.abs(picture.astype(int) - frame.image).mean() > 5, "the masks are drawn"


async def test_deleting_the_session_ends_it_once() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        await viewer.watch()
        assert viewer.location.startswith("/whep/cam/sessions/")
        assert server.sessions == 1
        assert (await server.http.delete(viewer.location.replace("/cam/", "/other/"))).status_code == 404
        assert (await server.http.delete(viewer.location)).status_code == 200
        assert server.sessions == 0
        assert (await server.http.delete(viewer.location)).status_code == 404


async def test_metrics_tell_sessions_and_tasks() -> None:
    async def held(server: Watched) -> tuple[float, float]:
        text = (await server.http.get("/metrics")).text
        sessions = re.search(r'^syncvis_webrtc_sessions\{peers="viewers"\} (.*)$', text, re.MULTILINE)
        tasks = re.search(r"^syncvis_asyncio_tasks (.*)$", text, re.MULTILINE)
        assert sessions is not None
        assert tasks is not None
        return float(sessions.group(1)), float(tasks.group(1))

    async with watched() as server:
        none, few = await held(server)
        async with Viewer(server.http) as viewer:
            await viewer.watch()
            one, more = await held(server)
            await server.http.delete(viewer.location)
        assert (none, one) == (0, 1)
        assert more > few > 0
        assert (await held(server))[0] == 0


async def test_a_viewer_that_leaves_takes_its_session_and_the_drawing_with_it() -> None:
    async with watched() as server:
        async with Viewer(server.http) as viewer:
            await viewer.watch()
            await viewer.picture()
            assert server.service.hub("cam").subscribers == 1
        await until(lambda: server.sessions == 0)
        await until(lambda: server.service.hub("cam").subscribers == 0)


async def test_a_session_ends_with_its_camera() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        await viewer.watch()
        await viewer.picture()
        server.service.hub("cam").close()
        await until(lambda: server.sessions == 0)


async def test_a_viewer_that_never_connects_is_forgotten() -> None:
    options = ServerOptions(limits=SessionLimits(connect_timeout_s=0.05))
    async with watched(options) as server, Viewer(server.http) as viewer:
        answer = await server.http.post("/whep/cam", content=await viewer.offer(), headers=SDP)
        assert answer.status_code == 201
        await until(lambda: server.sessions == 0)


async def test_more_viewers_than_allowed_are_told_to_come_back() -> None:
    options = ServerOptions(limits=SessionLimits(viewers=1))
    async with watched(options) as server, Viewer(server.http) as first, Viewer(server.http) as second:
        await first.watch()
        refused = await second.watch()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert server.sessions == 1


async def test_two_viewers_share_one_drawing_and_each_sees_it() -> None:
    async with watched() as server, Viewer(server.http) as first, Viewer(server.http) as second:
        for viewer in (first, second):
            await viewer.watch()
        for viewer in (first, second):
            await viewer.picture()
        assert server.service.hub("cam").subscribers == 1


async def test_a_lost_picture_is_answered_with_one_keyframe_for_all() -> None:
    """PLI (RFC 4585, section 6.3.1), as a peer sends it: one, and on a slow machine at most one in each interval."""
    async with watched() as server, Viewer(server.http) as first, Viewer(server.http) as second:
        for viewer in (first, second):
            await viewer.watch()
            await viewer.picture()
        before, began_s = keyframes(server), time.monotonic()
        (source,) = first.receiver.getSynchronizationSources()
        for _ in range(5):
            await first.receiver._send_rtcp_pli(source.source)
        await until(lambda: keyframes(server) > before)
        for _ in range(5):
            await second.picture()
        more = int((time.monotonic() - began_s) / KEYFRAME_INTERVAL_S)
        assert keyframes(server) <= before + 1 + more


async def test_lost_packets_are_sent_again() -> None:
    """NACK (RFC 4585, section 6.2.1), answered by retransmissions (RFC 4588)."""
    async with watched(ServerOptions(frame_stamp=True)) as server, Viewer(server.http) as viewer:
        take, lost, again = viewer.receiver._handle_rtp_packet, set[int](), set[int]()
        main = 0

        async def lossy(packet: RtpPacket, arrival_time_ms: int) -> None:
            nonlocal main
            main = main or packet.ssrc
            if packet.ssrc != main:
                again.add(int.from_bytes(packet.payload[:2], "big"))
            elif packet.sequence_number % 5 == 0:
                lost.add(packet.sequence_number)
                return
            await take(packet, arrival_time_ms)

        viewer.receiver._handle_rtp_packet = lossy
        await viewer.watch()
        await viewer.picture()
        # The newest ones may be on their way; whether the peer shows what comes late is its own affair.
        await until(lambda: len(lost) > 10 and len(lost - again) <= 2)


@pytest.mark.parametrize("at_once", [True, False])
async def test_large_pictures_arrive_with_and_without_the_kernel_s_help(
    monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(
            "stream.webrtc.rtp.UDP_SEGMENT", 0x7FFF
        )  # what an old kernel would say: no such option
    async with watched(ServerOptions(frame_stamp=True)) as server, Viewer(server.http) as viewer:
        await viewer.watch()
        pictures = [await viewer.picture() for _ in range(10)]
        assert all(read_stamp(picture) is not None for picture in pictures)


async def test_what_a_viewer_reports_of_its_line_reaches_its_rate() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        await viewer.watch()
        await viewer.picture()
        (session,) = server.app.state.sessions._sessions.values()
        (sender,) = session.connection.getSenders()
        queue = session.media.track.queue
        queue.rate.sent(1_000_000)
        for bps, expected in ((500_000, 500_000), (10**9, pytest.approx(500_000, rel=0.2))):
            fci = pack_remb_fci(bps, [sender._ssrc])
            await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci))
            assert queue.rate.limit_bps == expected
        damaged = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=b"nothing")
        await sender._handle_rtcp_packet(damaged)
        report = RtcpReceiverInfo(sender._ssrc, 64, 100, 0, 0, 0, 0)
        await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[report]))
        assert queue.rate.limit_bps < 500_000, "a quarter of the packets was lost"


def keyframes(server: Watched) -> float:
    name, labels = "syncvis_keyframes_encoded_total", {"camera": "cam", "codec": "H264"}
    return server.service.registry.get_sample_value(name, labels) or 0.0


async def test_offers_that_come_too_early_or_to_the_wrong_place() -> None:
    async with watched(live=False) as server, Viewer(server.http) as viewer:
        early = await viewer.watch()
        assert early.status_code == 409
        assert early.headers["retry-after"] == "1"
        assert (await server.http.post("/whep/nobody", content="x", headers=SDP)).status_code == 404


async def test_bodies_that_are_no_offer_are_refused() -> None:
    async with watched() as server:
        post = server.http.post
        assert (await post("/whep/cam", content="v=0")).status_code == 415
        assert (await post("/whep/cam", json={"sdp": "v=0"})).status_code == 415
        assert (await post("/whep/cam", content="v=0", headers=SDP)).status_code == 400
        assert (await post("/whep/cam", content=b"\xff\xfe", headers=SDP)).status_code == 400
        large = "v=0\r\n" + "a=x\r\n" * MAX_OFFER_BYTES
        assert (await post("/whep/cam", content=large, headers=SDP)).status_code == 413
        assert server.sessions == 0


async def offer_text() -> str:
    async with Viewer(httpx.AsyncClient()) as viewer:
        text = await viewer.offer()
        await viewer.http.aclose()
        return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(data=st.data())
def test_a_damaged_offer_is_accepted_whole_or_refused(data: st.DataObject, valid_offer: str) -> None:
    lines = valid_offer.split("\r\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(st.one_of(st.just(""), st.text(max_size=30), st.just(lines[at][:-3])))
    with suppress(OfferError):
        assert check_offer("\r\n".join(lines))


async def test_damaged_offers_get_4xx_and_leave_nothing_behind(valid_offer: str) -> None:
    lines = valid_offer.split("\r\n")
    damaged = [
        *("\r\n".join(lines[:keep]) for keep in range(0, len(lines) - 1, 7)),
        *("\r\n".join(lines[:i] + lines[i + 1 :]) for i in range(0, len(lines), 3)),
        valid_offer.replace("recvonly", "sendonly"),
        valid_offer.replace("m=video", "m=audio"),
        valid_offer.replace(" VP8/", " AV1/").replace(" H264/", " AV2/"),
    ]
    async with watched() as server:
        for offer in damaged:
            answer = await server.http.post("/whep/cam", content=offer, headers=SDP)
            if answer.status_code == 201:
                await server.http.delete(answer.headers["location"])
            else:
                assert answer.status_code == 400, offer
                assert "\n" not in answer.json()["detail"]
        assert server.sessions == 0
        await until(lambda: server.service.hub("cam").subscribers == 0)


def test_hidden_addresses_are_not_looked_up(valid_offer: str) -> None:
    hidden = "a=candidate:1 1 udp 2113937151 3f6a3c1e.local 50000 typ host"
    offer = valid_offer.rstrip("\r\n") + f"\r\n{hidden}\r\na=end-of-candidates\r\n"
    assert ".local" not in check_offer(offer)
    assert "end-of-candidates" not in check_offer(offer)


async def test_only_the_configured_addresses_are_offered() -> None:
    async with watched() as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        hosts = {line.split()[4] for line in answer.text.splitlines() if line.startswith("a=candidate")}
        assert hosts == {"127.0.0.1"}


@pytest.fixture(scope="module")
def valid_offer() -> str:
    return asyncio.run(offer_text())
