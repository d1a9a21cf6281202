"""The encoded pictures since the newest one that a decoder can begin with (a group of pictures), for who joins.

Owns how many are kept. Light: the process that reads a camera imports it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

GROUP_BYTES = 2 << 20
GROUP_PICTURES = 250
"""A longer or larger group is not kept: who joins waits for the next keyframe."""

T = TypeVar("T")


class Group(Generic[T]):
    """Empty until a keyframe, and from where it grew too large up to the next one."""

    def __init__(self) -> None:
        self._pictures: list[T] = []
        self._bytes = 0

    def add(self, picture: T, size: int, *, keyframe: bool) -> None:
        """The newest picture, of `size` bytes."""
        if keyframe:
            self.clear()
        elif not self._pictures:
            return
        self._pictures.append(picture)
        self._bytes += size
        if len(self._pictures) > GROUP_PICTURES or self._bytes > GROUP_BYTES:
            self.clear()

    def clear(self) -> None:
        """Nobody can begin before the next keyframe."""
        self._pictures, self._bytes = [], 0

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[T]:
        return iter(self._pictures)

    def __getitem__(self, index: int) -> T:
        return self._pictures[index]
