"""What a reader has of a camera's picture: the bytes that came, and what the decoder made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import av

from stream.sources.access_units import AccessUnit


@dataclass(frozen=True, slots=True)
class Coded:
    """An access unit that is over, or of which the picture is there already; once each, in order.

    `frames`: what the decoder gave, in the order in which they are shown; `corrupt`: how many it could not give.
    """

    unit: AccessUnit = field(repr=False)
    data: bytes = field(repr=False)
    frames: list[Any]
    damaged: bool
    corrupt: int

    @classmethod
    def of(cls, unit: AccessUnit, frames: list[Any], *, damaged: bool, corrupt: int = 0) -> Self:
        """With those of the decoder's frames that can be shown."""
        shown = [frame for frame in frames if not frame.is_corrupt]
        return cls(unit, unit.data, shown, damaged, corrupt + len(frames) - len(shown))


def decoded(codec: Any, packet: Any) -> tuple[list[Any], bool]:
    """What a decoder gives for a packet, and whether it could do nothing with it."""
    try:
        return codec.decode(packet), False
    except av.InvalidDataError:
        return [], True
