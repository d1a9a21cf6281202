"""What the fast way to send packets says on the wire is what the plain way says."""

from __future__ import annotations

import os
import struct
import time

import pytest
from aiortc import clock
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error, Policy, Session

from stream.webrtc.rtp import extension_around, ntp_time, protected

KEYS = {"AES128_CM_SHA1_80": 30, "AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44}


def packet(number: int, size: int) -> bytes:
    return struct.pack("!BBHLL", 0x80, 96, number & 0xFFFF, 3600 * number, 1234) + os.urandom(size)


def session(profile: str, key: bytes) -> Session:
    kind = getattr(Policy, f"SRTP_PROFILE_{profile}")
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=kind))


@pytest.mark.parametrize("profile", KEYS)
def test_packets_are_encrypted_as_the_library_does_it(profile: str) -> None:
    key = os.urandom(KEYS[profile])
    fast, plain = session(profile, key), session(profile, key)
    packets = [packet(number, 29 * number % 1300) for number in range(46)]
    for some in (packets[:1], packets[1:6], [], packets[6:]):
        assert protected(fast, some) == [plain.protect(each) for each in some]


def test_what_cannot_be_encrypted_is_an_error() -> None:
    made = session("AES128_CM_SHA1_80", os.urandom(30))
    with pytest.raises(ValueError, match="too long"):
        protected(made, [packet(1, 1500)])
    protected(made, [packet(2, 10)])
    with pytest.raises(Error):
        protected(made, [packet(2, 10)])


@given(
    st.integers(1, 14), st.integers(1, 14), st.integers(0, 2**64 - 1), st.text("abc", min_size=1, max_size=5)
)
def test_extensions_are_those_of_the_library(mid_id: int, time_id: int, now: int, mid: str) -> None:
    known = HeaderExtensionsMap()
    if mid_id != time_id:
        known._HeaderExtensionsMap__ids.mid = mid_id  # type: ignore[attr-defined]
    known._HeaderExtensionsMap__ids.abs_send_time = time_id  # type: ignore[attr-defined]
    before, after = extension_around(known, mid)
    assert after is not None
    sent = HeaderExtensions(abs_send_time=now >> 14 & 0xFFFFFF, mid=mid)
    header = RtpPacket(96, 0, 1, 2, 3, b"")
    header.extensions = sent
    assert header.serialize(known)[12:] == before + (now >> 14 & 0xFFFFFF).to_bytes(3) + after


def test_a_peer_that_wants_no_time_is_told_none() -> None:
    known = HeaderExtensionsMap()
    assert extension_around(known, "0") == (b"", None)
    known._HeaderExtensionsMap__ids.mid = 3  # type: ignore[attr-defined]
    before, after = extension_around(known, "0")
    assert after is None
    assert len(before) == 8


def test_times_are_those_of_the_library() -> None:
    before, now, after = clock.current_ntp_time(), ntp_time(time.time()), clock.current_ntp_time()
    slack = 1 << 16  # 15 microseconds: the library counts whole ones
    assert before - slack <= now <= after + slack
