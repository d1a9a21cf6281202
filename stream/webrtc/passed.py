"""A camera's own H.264 for all who watch it with masks as data: nothing is decoded or encoded for them.

Owns the wait of each picture for its masks, and where a viewer begins. Knows the camera's encoded pictures
(`PacketTap`) and its hub on one side, and the viewers' queues on the other; nothing of SDP, ICE or RTP. All runs on the
event loop's thread. docs/masks.md says what is promised.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from stream.hub import Hub
from stream.sources.group import Group
from stream.sources.packets import EncodedPacket, PacketTap, VideoFormat
from stream.statistics import CameraStatistics
from stream.types import TrackedFrame
from stream.webrtc.clock import RtpClock
from stream.webrtc.encoder import RTP_CLOCK_HZ, EncodedPicture, MaskText
from stream.webrtc.fanout import ViewerQueue
from stream.webrtc.payloads import h264_payloads
from stream.webrtc.rate import LossRate
from stream.wire import encode

HOLD_S = 1.0
"""A picture that has waited for its masks for so long goes out without."""

MOST_HELD = 128
"""Pictures that wait at most: twice as many as a camera of 60 a second brings until the oldest has waited enough."""

BEGIN_STEP = RTP_CLOCK_HZ // 1000
"""Between the pictures that somebody begins with: decoded at once, not played."""

REPLAY_TICKS = 2 * RTP_CLOCK_HZ
"""A viewer that lost a picture gets those since the IDR picture again, but not more often than that."""

MAX_DRIFT_S = 1.0
NOMINAL_STEP_S = 1 / 30

Fate = Literal["own", "none", "late"]


class PacketClock:
    """Ticks of a camera's encoded pictures, on its own clock; where that leaves the clock of arrival by more than
    `MAX_DRIFT_S` (it jumped, or there is another connection), it is followed from there."""

    def __init__(self) -> None:
        self._clock = RtpClock()
        self._shift_s: float | None = None
        self._last_s = 0.0

    def ticks(self, packet: EncodedPacket) -> int:
        """See `RtpClock.ticks`."""
        if packet.pts is None:
            self._last_s = self._last_s + NOMINAL_STEP_S if self._last_s else packet.arrival_s
            return self._clock.ticks(self._last_s)
        media_s = float(packet.pts * packet.time_base)
        shift_s = self._shift_s
        if shift_s is None or abs(media_s + shift_s - packet.arrival_s) > MAX_DRIFT_S:
            shift_s = self._shift_s = packet.arrival_s - media_s
        self._last_s = media_s + shift_s
        return self._clock.ticks(self._last_s)


@dataclass(frozen=True, slots=True)
class _Held:
    packet: EncodedPacket
    ticks: int
    since_s: float


class PassedQueue(ViewerQueue):
    """One viewer's. A keyframe cannot be had from most cameras: who needs one is given the newest again."""

    def __init__(
        self, replay: Callable[[PassedQueue], None], on_drop: Callable[[], None], rate: LossRate
    ) -> None:
        super().__init__(lambda: None, on_drop, rate)
        self.replayed_at: int | None = None
        self._replay = replay

    def request_keyframe(self) -> None:
        """The viewer cannot go on without one (RTCP PLI or FIR)."""
        self._replay(self)


class PassedFeed:
    """The camera's own pictures for any number of viewers, each when its masks are known. `clock` gives seconds."""

    def __init__(
        self,
        hub: Hub,
        tap: PacketTap,
        statistics: CameraStatistics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = random.getrandbits(32)
        self._hub, self._tap, self._statistics, self._clock = hub, tap, statistics, clock
        self._queues: set[PassedQueue] = set()
        self._ticks = PacketClock()
        self._held: deque[_Held] = deque()
        self._recent: Group[EncodedPicture] = Group()
        self._count = 0
        self._format: VideoFormat | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def profile(self) -> str | None:
        """The profile-level-id of what the camera sends, where viewers can be given it as it is."""
        found = self._tap.format
        return found.profile if found is not None and found.passable else None

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._queues)

    def join(self, codec: str = "H264") -> PassedQueue:
        """A queue of the camera's pictures, from an IDR picture on. The first one has the reader send them."""
        queue = PassedQueue(self._replay, self._statistics.viewer_dropped, LossRate(time.monotonic))
        self._queues.add(queue)
        if len(self._queues) == 1:
            self._format = self._tap.format
            self._tap.listen(self)
            self._hub.listen(self._answered)
        elif self._recent:
            queue.begin(squeezed(self._recent, self._recent[-1].ticks, BEGIN_STEP))
        else:
            self._tap.ask_keyframe()
        self._statistics.viewers(self.viewers, "passed")
        return queue

    def leave(self, queue: ViewerQueue) -> None:
        """Close a queue; after the last one the reader sends nothing any more. Idempotent."""
        queue.close()
        if queue not in self._queues:
            return
        self._queues.discard(queue)
        if not self._queues:
            self._tap.listen(None)
            self._hub.unlisten(self._answered)
            self._held.clear()
            self._recent.clear()
            self._set_timer()
        self._statistics.viewers(self.viewers, "passed")

    async def close(self) -> None:
        """End every queue."""
        self._end()

    def _end(self) -> None:
        for queue in tuple(self._queues):
            self.leave(queue)

    # What the camera sends: see `PacketListener`.

    def on_packet(self, packet: EncodedPacket) -> None:
        """Hold it until its masks are known; one that is older than whoever joined shows nobody anything."""
        ticks = self._ticks.ticks(packet)
        if packet.past:
            self._remember(self._packed(packet, ticks, None))
            if packet.past == 1:
                self._begin_all()
            return
        self._held.append(_Held(packet, ticks, self._clock()))
        while len(self._held) > MOST_HELD:
            self._release(self._held.popleft(), None, "late")
        self._set_timer()

    def on_lost(self, count: int) -> None:
        """Some did not get here; the next one can be begun with."""
        self._statistics.packets_lost(count)

    def on_break(self) -> None:
        """The camera went away: what it sent before waits no more."""
        self._release_all()
        self._recent.clear()

    def on_format(self, found: VideoFormat) -> None:
        """What it sends may not be what the viewers were promised: they have to ask again."""
        if found.known and found != self._format:
            self._end()

    # What the model says.

    def _answered(self, frame: TrackedFrame | None) -> None:
        """The masks of a frame: its picture may go, and all before it, which get none any more."""
        if frame is None:
            self._end()
            return
        key = (frame.pts, frame.captured_at_s)
        for index, held in enumerate(self._held):
            if (held.packet.pts, held.packet.arrival_s) == key:
                for _ in range(index):
                    self._release(self._held.popleft(), None, "none")
                self._release(self._held.popleft(), frame, "own")
                self._set_timer()
                return

    def _expire(self) -> None:
        """Let go what has waited for too long."""
        self._timer = None
        now = self._clock()
        while self._held and now - self._held[0].since_s >= HOLD_S:
            self._release(self._held.popleft(), None, "late")
        self._set_timer()

    def _release_all(self) -> None:
        while self._held:
            self._release(self._held.popleft(), None, "none")
        self._set_timer()

    def _set_timer(self) -> None:
        """Come back when the oldest has waited enough; one timer at a time."""
        if not self._held:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            wait_s = max(0.0, self._held[0].since_s + HOLD_S - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._expire)

    def _release(self, held: _Held, frame: TrackedFrame | None, fate: Fate) -> None:
        picture = self._packed(held.packet, held.ticks, frame)
        self._remember(picture)
        self._statistics.passed(fate)
        for queue in tuple(self._queues):
            limit = queue.rate.limit_bps
            queue.limit_bps = limit if limit != float("inf") else None
            queue.offer(picture)

    def _packed(self, packet: EncodedPacket, ticks: int, frame: TrackedFrame | None) -> EncodedPicture:
        masks = None
        if frame is not None:
            rtp_timestamp = (self.origin + ticks) & 0xFFFFFFFF
            masks = MaskText(encode(frame, rtp_timestamp), rtp_timestamp)
        self._count += 1
        seq = frame.seq if frame is not None else self._count
        payloads = h264_payloads(packet.data)
        return EncodedPicture(seq, ticks, packet.keyframe, payloads, masks, packet.arrival_s)

    # Where a viewer begins.

    def _remember(self, picture: EncodedPicture) -> None:
        self._recent.add(picture, picture.size, keyframe=picture.keyframe)

    def _begin_all(self) -> None:
        """All that the reader had is here: whoever waits can begin."""
        if self._recent:
            for queue in self._queues:
                queue.begin(squeezed(self._recent, self._recent[-1].ticks, BEGIN_STEP))

    def _replay(self, queue: PassedQueue) -> None:
        if not self._recent:
            self._tap.ask_keyframe()
            return
        last = self._recent[-1].ticks
        if queue.replayed_at is not None and last - queue.replayed_at < REPLAY_TICKS:
            return
        queue.replayed_at = last
        # Later than all that it was sent, and earlier than what comes next.
        again = squeezed(self._recent, last + len(self._recent), 1)
        queue.begin([replace(picture, masks=None, captured_at_s=None) for picture in again])


def squeezed(pictures: Group[EncodedPicture], end: int, step: int) -> list[EncodedPicture]:
    """The same pictures `step` ticks apart, the last at `end`: only that is meant to be seen, and keeps its masks. They
    may be old: nothing can be learned of when they are shown.
    """
    last = len(pictures) - 1
    return [
        replace(
            picture,
            ticks=end - (last - i) * step,
            masks=picture.masks if i == last else None,
            captured_at_s=None,
        )
        for i, picture in enumerate(pictures)
    ]
