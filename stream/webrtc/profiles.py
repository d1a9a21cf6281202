"""Which of the H.264 profiles in an offer can show a camera's own stream; an offer and an answer that say only that.

Owns the table of profiles (ITU-T H.264, annex A; RFC 6184, section 8.1). Negotiating stays aiortc's part, which knows
constrained baseline and baseline alone: it is shown the chosen payload type as one of these, and the peer is given back
the value that it offered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KNOWN = "42e01f"
"""What aiortc is shown."""

SHOWN_BY: dict[str, tuple[str, ...]] = {
    "constrained baseline": ("constrained baseline", "baseline", "main", "constrained high", "high"),
    "baseline": ("baseline",),
    "main": ("main", "high"),
    "constrained high": ("constrained high", "high"),
    "high": ("high",),
}
"""Profile of a stream -> the profiles of receivers that can decode it, best first.

High 4:4:4 would be able to, but Chromium 156 offers it and then shows nothing of a stream in High."""


def profile_of(profile_level_id: str) -> str | None:
    """The name of a profile-level-id's profile; None for those that no WebRTC peer is sent."""
    try:
        idc, flags, _ = bytes.fromhex(profile_level_id)
    except ValueError:
        return None
    set0, set1 = flags & 0x80, flags & 0x40
    if idc == 66:
        return "constrained baseline" if set1 else "baseline"
    if idc == 77:
        return "constrained baseline" if set0 else "main"
    if idc == 100:
        return "constrained high" if flags & 0x0C == 0x0C else "high"
    return None


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`offer`: the peer's, with the one payload type that can show the stream; `offered`: its profile-level-id."""

    offer: str
    offered: str

    def answer(self, answer: str) -> str:
        """aiortc's answer in the peer's words."""
        return answer.replace(f"profile-level-id={KNOWN}", f"profile-level-id={self.offered}")


def narrow(offer: str, profile_level_id: str) -> Narrowed | None:
    """The offer for a stream of this profile; None where the peer does not offer to decode it.

    Fragments of pictures need packetization-mode 1 (RFC 6184, section 6.3). The level is not looked at: browsers offer
    3.1 whatever they can decode.
    """
    before, video, after = _sections(offer)
    shown_by = SHOWN_BY.get(profile_of(profile_level_id) or "", ())
    best: tuple[int, str, str] | None = None
    for payload_type, parameters in re.findall(r"^a=fmtp:(\d+) (.*?)\r?$", video, re.MULTILINE):
        found = dict(part.strip().partition("=")[::2] for part in parameters.split(";"))
        offered = found.get("profile-level-id", "").lower()
        name = profile_of(offered)
        is_h264 = re.search(rf"^a=rtpmap:{payload_type} H264/90000", video, re.MULTILINE | re.IGNORECASE)
        if is_h264 and found.get("packetization-mode") == "1" and name in shown_by:
            rank = shown_by.index(name)
            best = min(best, (rank, payload_type, offered)) if best else (rank, payload_type, offered)
    if best is None:
        return None
    _, payload_type, offered = best
    return Narrowed(before + _only(video, payload_type) + after, offered)


def _sections(offer: str) -> tuple[str, str, str]:
    """The offer in three parts, of which the second is its first video section."""
    start = re.search(r"^m=video ", offer, re.MULTILINE)
    if start is None:
        return offer, "", ""
    end = re.search(r"^m=", offer[start.end() :], re.MULTILINE)
    stop = start.end() + end.start() if end else len(offer)
    return offer[: start.start()], offer[start.start() : stop], offer[stop:]


def _only(video: str, payload_type: str) -> str:
    """A media section with one payload type and its retransmissions (RFC 4588)."""
    again = re.findall(rf"^a=fmtp:(\d+) apt={payload_type}\b", video, re.MULTILINE)
    kept = [payload_type, *again]
    lines = []
    for line in video.split("\n"):
        about = re.match(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ", line)
        if line.startswith("m="):
            end = "\r" if line.endswith("\r") else ""
            lines.append(" ".join([*line.split()[:3], *kept]) + end)
        elif about is None or about.group(1) in kept:
            lines.append(re.sub(r"(?i)profile-level-id=[0-9a-f]{6}", f"profile-level-id={KNOWN}", line))
    return "\n".join(lines)
