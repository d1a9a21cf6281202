"""Which pictures are damaged: parts of them were lost on the way, or arrived wrong, and the decoder has filled in.

Owns the reading of FFmpeg's messages, the only place where it says so: a picture that it has patched up looks like any
other to whoever calls it. Knows nothing of what becomes of such a picture.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import av.logging

_LOST = "RTP: missed"
_NOT_OF_THE_PICTURE = "SEI"
"""Some cameras put their own notes into the stream (supplemental enhancement information), in forms of their own."""


class DamageLog:
    """Hears what FFmpeg says on this thread, and lets nothing of it be printed. To be held open while it is at work."""

    def __init__(self) -> None:
        self._capture = av.logging.Capture(local=True)
        self._damaged = False

    def __enter__(self) -> Self:
        self._messages = self._capture.__enter__()
        av.logging.set_level(av.logging.WARNING)
        av.logging.set_skip_repeated(False)  # the same words again are another picture
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        av.logging.set_level(None)
        av.logging.set_skip_repeated(True)
        self._capture.__exit__(None, None, None)

    def forget(self) -> None:
        """What was said so far is not about pictures that anybody gets."""
        self._messages.clear()

    def missed(self) -> bool:
        """Whether packets were lost since this was asked before; what comes is damaged then, up to a keyframe."""
        if not self._messages:
            return False
        kept = [message for message in self._messages if not message[2].startswith(_LOST)]
        lost = len(kept) < len(self._messages)
        if lost:
            self._messages[:] = kept
            self.mark()
        return lost

    def mark(self) -> None:
        """What comes is damaged, up to a keyframe: somebody else has found it out."""
        self._damaged = True

    def of(self, codec: str, *, keyframe: bool) -> bool:
        """Whether the pictures of the packet that was decoded just now are damaged: something was wrong with it, or
        with one since the last keyframe, on which it builds. `codec`: FFmpeg's name of the decoder.
        """
        if keyframe:
            self._damaged = False
        if self._messages:
            self._damaged = self._damaged or any(_tells(codec, *message) for message in self._messages)
            self._messages.clear()
        return self._damaged


def _tells(codec: str, level: int, name: str, text: str) -> bool:
    if name == codec:
        return level <= av.logging.ERROR and not text.startswith(_NOT_OF_THE_PICTURE)
    return text.startswith(_LOST)
