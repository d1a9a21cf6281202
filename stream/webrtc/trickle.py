"""ICE candidates that a peer sends after its offer: `application/trickle-ice-sdpfrag` (RFC 8840, section 9).

Owns the grammar, and the refusal of what does not follow it. Does not know sessions or HTTP.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

MAX_FRAGMENT_BYTES = 16 * 1024
MAX_CANDIDATES = 64
TYPES = frozenset({"host", "srflx", "prflx", "relay"})


class FragmentError(Exception):
    """The fragment is malformed; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """`ufrag`: the ICE generation that it speaks of; `candidates`: those that can be used here, with their mid."""

    ufrag: str | None
    candidates: tuple[RTCIceCandidate, ...]


def parse_fragment(text: str) -> Fragment:
    """Read a fragment. Raises FragmentError.

    Candidates that are of no use here are read and left out: TCP ones, and names that only multicast DNS can resolve
    (see `offer.check_offer`). So is `end-of-candidates`: the address that counts may still come by a check.
    """
    ufrag, mid = None, None
    candidates: list[RTCIceCandidate] = []
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines:
        raise FragmentError("the fragment is empty")
    for line in lines:
        key, sign, value = line.partition("=")
        if len(key) != 1 or not sign:
            raise FragmentError("a line is not of the form TYPE=VALUE")
        name, _, argument = value.partition(":")
        if key != "a":
            mid = None if key == "m" else mid
        elif name == "ice-ufrag":
            ufrag = argument
        elif name == "mid":
            mid = argument
        elif name == "candidate":
            candidates.append(_candidate(argument, mid))
    if len(candidates) > MAX_CANDIDATES:
        raise FragmentError(f"more than {MAX_CANDIDATES} candidates")
    usable = [c for c in candidates if c.protocol.lower() == "udp" and not c.ip.endswith(".local")]
    return Fragment(ufrag, tuple(usable))


def _candidate(text: str, mid: str | None) -> RTCIceCandidate:
    if mid is None:
        raise FragmentError("a candidate belongs to no media section (a=mid)")
    try:
        candidate = candidate_from_sdp(text)
        if not candidate.ip.endswith(".local"):
            ipaddress.ip_address(candidate.ip)
    # aiortc's parser raises whatever its line of code meets.
    except Exception as error:
        raise FragmentError(f"a candidate is malformed: {type(error).__name__}") from error
    if not (
        candidate.component in (1, 2)
        and candidate.type in TYPES
        and 0 <= candidate.port <= 65535
        and 0 <= candidate.priority < 2**32
        and candidate.protocol.lower() in ("udp", "tcp")
    ):
        raise FragmentError("a candidate is malformed: a value is out of its range")
    candidate.sdpMid = mid
    return candidate
