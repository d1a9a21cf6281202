"""Encoded pictures from one encoder to any number of viewers: start at a keyframe, never a hole, never a wait.

Owns what waits for each viewer. Does not encode, and does not know where pictures come from or go to.
Everything here runs on the event loop's thread; there are no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from stream.webrtc.encoder import RTP_CLOCK_HZ, EncodedPicture
from stream.webrtc.rate import ViewerRate

MOST_WAITING = 15
"""Pictures that may wait for one viewer: half a second at 30 a second."""

THINNED_KEYFRAME_TICKS = 2 * RTP_CLOCK_HZ
"""How long a viewer whose line is too slow waits for a keyframe before it asks: these cost all viewers bits."""

RECENT_TICKS = RTP_CLOCK_HZ // 2
RECENT_PICTURES = MOST_WAITING


class ViewerQueue:
    """What waits for one viewer, oldest first: an async iterator that ends when it is closed.

    Each picture refers to the one before, so none can be left out alone. Where some cannot be delivered, because
    `MOST_WAITING` wait already or the line takes only `limit_bps`, all are left out up to a keyframe, and
    counted in `dropped`. One task iterates at a time.
    """

    def __init__(
        self, request_keyframe: Callable[[], None], on_drop: Callable[[], None], rate: ViewerRate
    ) -> None:
        self.rate = rate
        self.dropped = 0
        self.limit_bps: float | None = None
        """Bits a second that this viewer is given, where that is less than the encoder's; None: all."""
        self._request_keyframe = request_keyframe
        self._on_drop = on_drop
        self._waiting: deque[EncodedPicture] = deque()
        self._beginning = 0
        self._wake = asyncio.Event()
        self._following = self._closed = False
        self._tokens = 0.0
        self._at = 0
        self._keyframe_at: int | None = None

    def offer(self, picture: EncodedPicture) -> None:
        """Called by the fan-out with every picture, in order."""
        if self._closed:
            return
        has_room = self._has_tokens(picture.ticks) and len(self._waiting) - self._beginning < MOST_WAITING
        self._following = has_room and (self._following or picture.keyframe)
        if not self._following:
            if self._keyframe_at is not None:
                self.dropped += 1
                self._on_drop()
            self._ask(picture.ticks, has_room)
            return
        if picture.keyframe:
            self._keyframe_at = picture.ticks
        self._tokens -= 8 * picture.size
        self._waiting.append(picture)
        self._wake.set()

    def begin(self, pictures: Sequence[EncodedPicture]) -> None:
        """Go on with these, of which the first is a keyframe, instead of what waits.

        They need no room: they are meant to be sent at once.
        """
        if self._closed or not pictures:
            return
        self._waiting.clear()
        self._waiting.extend(pictures)
        self._beginning = len(pictures)
        self._following, self._keyframe_at = True, pictures[0].ticks
        self._wake.set()

    def _ask(self, ticks: int, has_room: bool) -> None:
        """Ask for a keyframe, if this viewer could take it now."""
        since = THINNED_KEYFRAME_TICKS if self._keyframe_at is None else ticks - self._keyframe_at
        often = self.limit_bps is not None and since < THINNED_KEYFRAME_TICKS
        if has_room and not self._waiting and not often:
            self._request_keyframe()

    def request_keyframe(self) -> None:
        """The viewer cannot go on without one (RTCP PLI or FIR)."""
        self._request_keyframe()

    def close(self) -> None:
        """End the iteration. Idempotent."""
        self._closed = True
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> ViewerQueue:
        return self

    async def __anext__(self) -> EncodedPicture:
        while not self._closed:
            if self._waiting:
                picture = self._waiting.popleft()
                self._beginning = max(0, self._beginning - 1)
                self.rate.sent(picture.size)
                return picture
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    def _has_tokens(self, ticks: int) -> bool:
        """Whether the line takes more: a token bucket of one second, on the pictures' own time."""
        elapsed, self._at = ticks - self._at, ticks
        if self.limit_bps is None:
            self._tokens = 0.0
            return True
        self._tokens = min(self.limit_bps, self._tokens + self.limit_bps * elapsed / RTP_CLOCK_HZ)
        return self._tokens >= 0


class Fanout:
    """Hands each encoded picture to every viewer.

    `request_keyframe` is called when a viewer needs one, `on_drop` for each picture that one does not get; `clock`
    gives seconds.
    """

    def __init__(
        self,
        request_keyframe: Callable[[], None],
        *,
        on_drop: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request_keyframe = request_keyframe
        self._on_drop = on_drop
        self._clock = clock
        self._recent: list[EncodedPicture] = []
        self.viewers: set[ViewerQueue] = set()

    def join(self) -> ViewerQueue:
        """A queue for one more viewer. It starts with the newest keyframe where that is not older than half a second,
        and with all that came since; else with the next one, which is asked for.
        """
        queue = ViewerQueue(self._request_keyframe, self._on_drop, ViewerRate(self._clock))
        self.viewers.add(queue)
        for picture in self._recent:
            queue.offer(picture)
        if not self._recent:
            self._request_keyframe()
        return queue

    def leave(self, queue: ViewerQueue) -> None:
        """Take a viewer's queue away and close it. Idempotent."""
        queue.close()
        self.viewers.discard(queue)

    def publish(self, picture: EncodedPicture) -> None:
        """Offer a picture to every viewer. Never waits."""
        recent = self._recent
        too_many = len(recent) >= RECENT_PICTURES
        if picture.keyframe or too_many or (recent and picture.ticks - recent[0].ticks > RECENT_TICKS):
            recent.clear()
        if picture.keyframe or recent:
            recent.append(picture)
        for queue in tuple(self.viewers):
            queue.offer(picture)

    def close(self) -> None:
        """End every viewer's iteration."""
        for queue in tuple(self.viewers):
            self.leave(queue)
