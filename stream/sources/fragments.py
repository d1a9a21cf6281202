"""Which packet is the last one of a NAL unit, told by its size: the mark of it (RFC 6184, 5.8) is lost in FFmpeg.

Owns what is learned about the server's packets. Payloaders fill each fragment (FU-A) but the last; where that does not
hold, nothing is told. Light: the process that reads a camera imports it.
"""

from __future__ import annotations

HEADER = 1
"""Bytes of a NAL unit that are not part of its first fragment's payload."""
UNLIKE = 16
"""By so many bytes the first fragment and the ones after it may differ in what they hold."""


class FragmentSizes:
    """Sizes are those of payloads: of a packet that begins a NAL unit, all after that unit's header."""

    def __init__(self) -> None:
        self.regular = True
        """Fragments but the last are all of one size, as far as was seen."""
        self._first: int | None = None
        self._later: int | None = None
        self._filled = False
        """Whether it was seen that what is left over goes into the last one: others make them all alike."""
        self._alone = 0

    def went_on(self, size: int, *, first: bool) -> None:
        """A packet of this size was not its unit's last; `first`: but the first."""
        known = self._first if first else self._later
        if known is not None and known != size:
            self.regular = False
        if first:
            self._first = size
        else:
            self._later = size

    def ended(self, sizes: list[int]) -> None:
        """A unit is whole; sizes of its packets, of which none was lost."""
        if len(sizes) == 1:
            self._alone = max(self._alone, sizes[0])
        elif sizes[-1] > max(sizes[:-1]) + UNLIKE:
            self.regular = False
        elif sizes[-1] < min(sizes[:-1]) - max(len(sizes), UNLIKE):
            self._filled = True

    def is_last(self, size: int, *, first: bool) -> bool:
        """Whether a packet of this size ends its unit; certain of who fills packets, or was seen to make fragments."""
        if not self.regular:
            return False
        if self._first is None:
            return first and size + 1 < self._alone  # a fragment would hold more
        if not self._filled:
            return False
        if first:
            return size < self._first
        return size < (self._later if self._later is not None else self._first - UNLIKE)

    def wrong(self) -> None:
        """A unit went on after the packet that was taken for its last."""
        self.regular = False
