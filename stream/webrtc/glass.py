"""From capture to glass: a viewer says when it showed which picture, and how its clock stands to this one's.

Owns what may be said on the data channel "syncvis-glass" (docs/latency.md), and the arithmetic. What a viewer says is
believed only where it can be true: of a picture that it was sent, once, and not too long after.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiortc import RTCDataChannel

from stream.webrtc.encoder import EncodedPicture

LABEL = "syncvis-glass"
MAX_MESSAGE = 4096
"""Signs of a message, 64 pictures and more."""
MOST_SHOWN = 64
MOST_SENT = 512
"""Pictures that a viewer can still report: 8 s at 60 a second."""
MOST_BUFFERED = 4096
SAMPLES = 16
FIRST_SAMPLES = 4
LONGEST_S = 60.0
"""A picture that is shown later after its capture was paused, not late."""
MESSAGES_PER_S = 5.0
BURST = 20.0

Refusal = Literal["malformed", "too_long", "too_many", "unknown_picture", "no_clock", "implausible"]


@dataclass(frozen=True, slots=True)
class ClockSample:
    """This clock is `offset_s` ahead of the peer's, give or take `error_s`."""

    offset_s: float
    error_s: float


class PeerClock:
    """The peer's clock by four timestamps, as NTP has it (RFC 5905, section 8): of the newest samples, the one with the
    shortest way there and back is used; it is wrong by half of that at most, however uneven the two ways are.
    """

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=SAMPLES)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def best(self) -> ClockSample | None:
        """None before the first sample."""
        return min(self._samples, key=lambda sample: sample.error_s, default=None)

    def add(self, sent_s: float, came_s: float, answered_s: float, back_s: float) -> None:
        """A question: sent and answered here at `sent_s` and `back_s`; there it came and was answered at `came_s` and
        `answered_s`, on the peer's clock. Raises ValueError where that cannot be.
        """
        there_s, round_trip_s = answered_s - came_s, (back_s - sent_s) - (answered_s - came_s)
        # A browser's clock may be rounded to 1 ms.
        if not (there_s >= 0 and -0.002 <= round_trip_s <= LONGEST_S):
            raise ValueError("these times cannot be")
        offset_s = ((sent_s - came_s) + (back_s - answered_s)) / 2
        self._samples.append(ClockSample(offset_s, max(round_trip_s, 0.0) / 2))


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """`seq`: of the camera's frame; `latency_s`: from its capture to the glass, give or take `error_s`."""

    rtp_timestamp: int
    seq: int
    captured_at_s: float
    latency_s: float
    error_s: float


class GlassReports:
    """What one viewer reports. `on_shown` is told of each picture, `on_refused` why something was not believed. `clock`
    is Unix time, `monotonic` for the rate; both in seconds.
    """

    def __init__(
        self,
        on_shown: Callable[[ShownPicture], None] = lambda shown: None,
        on_refused: Callable[[Refusal], None] = lambda reason: None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_shown, self.on_refused = on_shown, on_refused
        self._clock, self._monotonic = clock, monotonic
        self._channel: RTCDataChannel | None = None
        self._peer = PeerClock()
        self._sent: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self._asked: OrderedDict[int, float] = OrderedDict()
        self._number = 0
        self._tokens, self._tokens_at_s = BURST, monotonic()

    def take(self, channel: RTCDataChannel) -> None:
        """The peer has opened a data channel; the first one of the right name is used."""
        if channel.label == LABEL and self._channel is None:
            self._channel = channel
            channel.on("message", self.hear)

    def sent(self, rtp_timestamp: int, picture: EncodedPicture) -> None:
        """A picture goes out now."""
        if self._channel is None or picture.captured_at_s is None:
            return
        self._sent[rtp_timestamp] = (picture.seq, picture.captured_at_s)
        if len(self._sent) > MOST_SENT:
            self._sent.popitem(last=False)

    def hear(self, message: object) -> None:
        """A message of the peer."""
        heard_s = self._clock()
        if not self._has_token():
            self.on_refused("too_many")
        elif not isinstance(message, str) or len(message) > MAX_MESSAGE:
            self.on_refused("too_long" if isinstance(message, str) else "malformed")
        else:
            try:
                self._follow(json.loads(message), heard_s)
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
                self.on_refused("malformed")

    def _follow(self, said: Any, heard_s: float) -> None:
        if "pong" in said:
            self._note_answer(said, heard_s)
            if len(self._peer) < FIRST_SAMPLES:
                self._ask()
            return
        shown = [(_integer(rtp), _seconds(at_ms)) for rtp, at_ms in said["shown"]]
        if len(shown) > MOST_SHOWN:
            raise ValueError("too many at once")
        for rtp_timestamp, at_s in shown:
            self._note_shown(rtp_timestamp, at_s)
        self._ask()

    def _ask(self) -> None:
        """What time is it there?"""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MOST_BUFFERED:
            return
        self._number += 1
        self._asked[self._number] = self._clock()
        if len(self._asked) > SAMPLES:
            self._asked.popitem(last=False)
        channel.send(json.dumps({"ping": self._number}))

    def _note_answer(self, said: Any, heard_s: float) -> None:
        asked_s = self._asked.pop(_integer(said["pong"]))
        try:
            self._peer.add(asked_s, _seconds(said["came"]), _seconds(said["answered"]), heard_s)
        except ValueError:
            self.on_refused("implausible")

    def _note_shown(self, rtp_timestamp: int, at_s: float) -> None:
        best = self._peer.best
        if best is None:
            self.on_refused("no_clock")
            return
        found = self._sent.pop(rtp_timestamp, None)
        if found is None:
            self.on_refused("unknown_picture")
            return
        seq, captured_at_s = found
        latency_s = at_s + best.offset_s - captured_at_s
        if not -best.error_s <= latency_s <= LONGEST_S:
            self.on_refused("implausible")
            return
        self.on_shown(ShownPicture(rtp_timestamp, seq, captured_at_s, max(latency_s, 0.0), best.error_s))

    def _has_token(self) -> bool:
        now_s = self._monotonic()
        self._tokens = min(BURST, self._tokens + MESSAGES_PER_S * (now_s - self._tokens_at_s))
        self._tokens_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError("no whole number")
    return value


def _seconds(milliseconds: object) -> float:
    if type(milliseconds) not in (int, float) or not math.isfinite(milliseconds):  # type: ignore[arg-type]
        raise ValueError("no time")
    return float(milliseconds) / 1000  # type: ignore[arg-type]
