"""The nouns of the live side, in the order in which a frame meets them.

URL -> Source -> Frame -> RingBuffer -> Window -> Scheduler -> Engine -> TrackedFrame -> Hub -> subscribers.
All are immutable values. Nothing here knows how they are made or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from syncvis_online.types import Image, Track

Clock = Literal["rtcp", "arrival", "media"]
"""Where `captured_at_s` comes from: the camera's RTCP sender reports, the arrival of the packet before it
was decoded, or (files read as fast as possible) the media's own time added to the start of reading."""


Break = Literal["gap", "resize", "cut", "stale"]
"""Why a frame does not go on from the one before: a reconnect or a long pause, another picture size, another scene, or
the end of a frozen picture."""

Policy = Literal["keep", "age", "reset"]
"""What a break does to identities: they go on as if no time had passed; time has passed for them; all are new."""


DAMAGED = "damaged"
"""Flag of a frame: parts of its picture were lost or wrong, or parts of one that it builds on."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one camera.

    `seq` counts the frames of this camera from 0 and never goes back, also across reconnects; `pts` is in
    `time_base` units; `captured_at_s` is Unix time in seconds; `image` has shape (H, W, 3), RGB, uint8, and is
    never written to. `discontinuity` is true for the first frame after a reconnect. `flags`: what its
    picture says of itself ("cut", "stale"), and whether it is whole ("damaged"). `lag_s`: by how much it arrived later
    than the earliest of the last minute, measured by the camera's time.
    """

    camera: str
    seq: int
    pts: int
    time_base: Fraction
    captured_at_s: float
    image: Image = field(repr=False, compare=False)
    clock: Clock = "arrival"
    discontinuity: bool = False
    flags: tuple[str, ...] = ()
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """The frames that one run of the decoder sees, oldest first (1 to Ts of them).

    `answers` is how many of the newest frames get their answer from this window. `after` is the break that it is the
    first window after, and `policy` what that does to identities; no window spans a break.
    """

    frames: tuple[Frame, ...]
    answers: int
    after: Break | None = None
    policy: Policy = "age"

    @property
    def camera(self) -> str:
        """Whose frames these are."""
        return self.frames[-1].camera


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """What subscribers get: a frame's identity and time, its picture, and the tracks on it.

    `flags` are words that subscribers may show: "gap" and "resize" on the first frame after such a break, "cut" on the
    first frame of another scene, "stale" while the picture is frozen, "damaged" on one that did not arrive whole.
    `epoch`: of the camera's place in a cluster; None on a single machine.
    `published_at_s` is Unix time in seconds, set when the hub hands the frame out. `stages_s`: where the time since its
    capture went, as far as it is known (names as in `stream.metrics.STAGES`).
    """

    camera: str
    seq: int
    pts: int
    time_base: Fraction
    captured_at_s: float
    clock: Clock
    tracks: tuple[Track, ...]
    image: Image = field(repr=False, compare=False)
    flags: tuple[str, ...] = ()
    published_at_s: float = 0.0
    stages_s: Mapping[str, float] = field(default_factory=dict, compare=False)
    epoch: int | None = None

    @property
    def latency_s(self) -> float:
        """Seconds from capture to publication."""
        return self.published_at_s - self.captured_at_s


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """What the engine says about one window: its answered frames, oldest first, and where the time went.

    `stages_s` maps stage ("preprocess", "encode", "decode", "track", "masks") to seconds. `out_of_slots`: after how
    many of the frames the tracker had no slot left for an object that is new.
    """

    frames: tuple[TrackedFrame, ...]
    stages_s: Mapping[str, float]
    out_of_slots: int = 0
