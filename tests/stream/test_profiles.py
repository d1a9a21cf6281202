"""Which offers can show which camera, and that a peer is answered in its own words."""

from __future__ import annotations

import re

import pytest
from aiortc.sdp import SessionDescription

from stream.webrtc.profiles import KNOWN, narrow, profile_of

LINES = (
    *("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"),
    *("m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 108 109", "c=IN IP4 0.0.0.0", "a=mid:0", "a=recvonly"),
    *("a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"),
    *("a=rtpmap:102 H264/90000", "a=fmtp:102 packetization-mode=1;profile-level-id=42001f"),
    *("a=rtpmap:103 rtx/90000", "a=fmtp:103 apt=102", "a=rtcp-fb:102 nack pli"),
    *("a=rtpmap:104 H264/90000", "a=fmtp:104 packetization-mode=0;profile-level-id=4d001f"),
    *(
        "a=rtpmap:108 H264/90000",
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4D001F",
    ),
    *("a=rtpmap:109 rtx/90000", "a=fmtp:109 apt=108"),
    *("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:1"),
)
OFFER = "\r\n".join(LINES) + "\r\n"


@pytest.mark.parametrize(
    ("stream", "offered"),
    [
        ("42c01e", "42001f"),  # constrained baseline: baseline comes before main
        ("42001e", "42001f"),
        ("4d4028", "4d001f"),
        ("64001e", None),  # nobody offered high
        ("f4001e", None),
        ("nonsense", None),
    ],
)
def test_a_stream_goes_to_who_offers_to_decode_it(stream: str, offered: str | None) -> None:
    narrowed = narrow(OFFER, stream)
    if offered is None:
        assert narrowed is None
        return
    assert narrowed is not None
    assert narrowed.offered == offered
    video = SessionDescription.parse(narrowed.offer).media[0]
    chosen, again = video.rtp.codecs
    assert chosen.mimeType == "video/H264"
    assert chosen.parameters["packetization-mode"] == "1"
    assert chosen.parameters["profile-level-id"] == KNOWN
    assert again.parameters["apt"] == chosen.payloadType
    assert "webrtc-datachannel" in narrowed.offer
    answer = f"a=fmtp:102 packetization-mode=1;profile-level-id={KNOWN}"
    assert narrowed.answer(answer).endswith(f"profile-level-id={offered}")


def test_one_packet_a_picture_is_not_enough() -> None:
    assert narrow(OFFER.replace("packetization-mode=1", "packetization-mode=0"), "42c01e") is None
    assert narrow(re.sub(r"packetization-mode=1;", "", OFFER), "42c01e") is None


@pytest.mark.parametrize(
    "offer", ["", "v=0\r\n", "m=audio 9 X 1\r\na=fmtp:1 x\r\n", "m=video\r\na=fmtp:9 =;=\r\n"]
)
def test_an_offer_without_h264_is_for_the_encoder(offer: str) -> None:
    assert narrow(offer, "42c01e") is None


@pytest.mark.parametrize(
    ("profile_level_id", "name"),
    [
        *(
            ("42e01f", "constrained baseline"),
            ("42001f", "baseline"),
            ("4d001f", "main"),
            ("4d801f", "constrained baseline"),
        ),
        *(("64001f", "high"), ("640c1f", "constrained high"), ("580028", None), ("", None), ("4200", None)),
    ],
)
def test_profiles_have_names(profile_level_id: str, name: str | None) -> None:
    assert profile_of(profile_level_id) == name
