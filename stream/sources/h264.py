"""What the bytes of H.264 say, without decoding them. Light: the process that reads a camera imports it too."""

from __future__ import annotations

from collections.abc import Iterator

IDR, SEI, SPS, PPS, AUD = 5, 6, 7, 8, 9
SLICES = (1, 2, IDR)
"""Types of NAL units (ITU-T H.264, table 7-1); those with the header of a slice."""
RECOVERY_POINT = 6
"""Type of supplemental enhancement information (D.1.8): a decoder that begins here is right some pictures later."""


class H264Look:
    """What the bytes of a stream in Annex B say: where it can be joined, and what a decoder must be able to do.

    `extradata`: the parameter sets of the session description; a picture that can be joined at gets them where it
    brings none itself.
    """

    def __init__(self, extradata: bytes = b"") -> None:
        self._parameters = b"".join(
            b"\0\0\0\1" + unit for unit in _units(extradata) if unit[0] & 0x1F in (SPS, PPS)
        )
        self.profile: str | None = None
        """profile_idc, constraint flags and level_idc of the newest SPS in hexadecimal, as RFC 6184 has them."""

    def prefix(self, data: bytes) -> bytes | None:
        """What belongs before an access unit for a decoder to begin with it; None where none can."""
        kinds = set()
        for unit in _units(data):
            kinds.add(unit[0] & 0x1F)
            if unit[0] & 0x1F == SPS and len(unit) >= 4:
                self.profile = unit[1:4].hex()
        if IDR not in kinds:
            return None
        if {SPS, PPS} <= kinds:
            return b""
        for unit in _units(self._parameters):
            if unit[0] & 0x1F == SPS and len(unit) >= 4 and SPS not in kinds:
                self.profile = unit[1:4].hex()
        return self._parameters if self._parameters else None


def _units(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes (ITU-T H.264, annex B)."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        begin = start + 3
        start = data.find(b"\0\0\1", begin)
        unit = data[begin : start if start >= 0 else len(data)].rstrip(b"\0")
        if unit:
            yield unit


def starts_of(data: bytes) -> list[int]:
    """Where NAL units begin, with the zero before their start codes."""
    starts = []
    found = data.find(b"\0\0\1")
    while found >= 0:
        starts.append(found - 1 if found and data[found - 1] == 0 else found)
        found = data.find(b"\0\0\1", found + 3)
    return starts


def first_macroblock(unit: bytes) -> int:
    """first_mb_in_slice of a slice, which begins with its NAL unit's header: 0 for the first slice of a picture."""
    bits = int.from_bytes(unit[1:9].ljust(8, b"\0"), "big")
    zeros = 64 - bits.bit_length()
    if zeros >= 32:  # nonsense
        return 0
    return (bits >> (63 - 2 * zeros)) - 1


def is_recovery_point(unit: bytes) -> bool:
    """Whether a SEI NAL unit has that among its messages (7.3.2.3)."""
    at = 1
    while at + 2 < len(unit):
        kind, at = _summed(unit, at)
        size, at = _summed(unit, at)
        if kind == RECOVERY_POINT:
            return True
        at += size
    return False


def _summed(unit: bytes, at: int) -> tuple[int, int]:
    """A number of as many 255 as go into it and the rest, and where it ends."""
    total = 0
    while at < len(unit) and unit[at] == 255:
        total, at = total + 255, at + 1
    return total + (unit[at] if at < len(unit) else 0), at + 1
