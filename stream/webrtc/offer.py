"""What an SDP offer must hold to be answered with one video, checked before any connection is made.

Owns the refusals. Does not negotiate: that is aiortc's part.
"""

from __future__ import annotations

from typing import Literal

from aiortc.sdp import SessionDescription

MAX_OFFER_BYTES = 64 * 1024
MAX_MEDIA = 8
Direction = Literal["recvonly", "sendonly"]
CODECS = frozenset({"video/VP8", "video/H264"})


class OfferError(Exception):
    """The offer cannot be answered; the message says why, in one line."""


class UnsupportedOfferError(OfferError):
    """The offer is well formed, but asks for more than is served."""


def check_offer(offer: str, direction: Direction = "recvonly") -> str:
    """The offer, ready to be given to a peer connection. Raises OfferError for anything else.

    `direction` is the way of the peer's video: recvonly or sendonly; sendrecv does for both.

    Candidates that only multicast DNS can resolve (browsers hide local addresses that way) are taken out: the peer's
    own connectivity checks reveal its address sooner, and no query goes out on the network. So is
    `end-of-candidates`, for the same reason: the address that counts may still come. A peer that can take either part
    in the DTLS handshake is made the one that begins it, so that the answer is passive (RFC 9725, section 4.4): it
    also lets peers in whose certificates are RSA, GStreamer's for one, with which aiortc cannot begin.
    """
    lines = offer.replace("\r\n", "\n").split("\n")
    if lines[0] != "v=0":  # RFC 8866, section 5.1
        raise OfferError("not a session description: it must begin with v=0")
    kept = [line for line in lines if not _hidden_candidate(line) and line != "a=end-of-candidates"]
    cleaned = "\r\n".join("a=setup:active" if line == "a=setup:actpass" else line for line in kept)
    try:
        description = SessionDescription.parse(cleaned)
    # aiortc's parser raises whatever its line of code meets: ValueError, KeyError, AssertionError ...
    except Exception as error:
        raise OfferError(f"not a session description: {type(error).__name__}") from error
    _check_media(description, direction)
    return cleaned


def _hidden_candidate(line: str) -> bool:
    parts = line.split()
    return line.startswith("a=candidate:") and len(parts) > 4 and parts[4].endswith(".local")


def _check_media(description: SessionDescription, direction: Direction) -> None:
    if len(description.media) > MAX_MEDIA:
        raise OfferError(f"more than {MAX_MEDIA} media sections")
    videos = [media for media in description.media if media.kind == "video"]
    if direction == "sendonly":
        _check_single_stream(description)
    if not videos:
        raise OfferError("the offer holds no video section")
    for media in description.media:
        if not media.dtls or not media.dtls.fingerprints:
            raise OfferError("a media section has no DTLS fingerprint")
        if not media.ice or not media.ice.usernameFragment or not media.ice.password:
            raise OfferError("a media section has no ICE credentials")
    video = videos[0]
    if video.direction not in (direction, "sendrecv"):
        raise OfferError(f"the video section is {video.direction}; it must be {direction}")
    if not any(codec.mimeType in CODECS for codec in video.rtp.codecs):
        raise OfferError("the video section offers neither VP8 nor H264")


def _check_single_stream(description: SessionDescription) -> None:
    """A publisher sends one video, and one audio at most (RFC 9725, section 4.4.2)."""
    kinds = [media.kind for media in description.media]
    if kinds.count("video") > 1 or kinds.count("audio") > 1 or set(kinds) - {"video", "audio"}:
        raise UnsupportedOfferError("more than one video and one audio cannot be published together")
