"""One coded picture of a publisher, on its way from the packets to the decoder and to viewers."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

Codec = Literal["H264", "VP8"]

TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One picture as it came. `ticks`: the publisher's time in 1/90000 s, from any origin; `arrival_s`: Unix time at
    which its first packet came; `data`: an H.264 access unit with start codes, or a VP8 frame.
    """

    codec: Codec
    data: bytes = field(repr=False)
    ticks: int
    arrival_s: float
    keyframe: bool
