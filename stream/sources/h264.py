"""What the bytes of H.264 say, without decoding them. Light: the process that reads a camera imports it too."""

from __future__ import annotations

from collections.abc import Iterator

IDR, SPS, PPS = 5, 7, 8
"""ITU-T H.264, table 7-1."""


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
