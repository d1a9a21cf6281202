"""What one camera of a running service publishes, frame by frame, and what can be seen of its state.

The pictures carry their number (tests.support.rtsp_server.index_frames), and the camera plays them by a clock that is
known: so each frame tells when it was sent, whatever the service believes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from stream.app import Service
from stream.pipeline import CameraPipeline
from stream.statistics import CameraStatus
from stream.types import DAMAGED, TrackedFrame
from tests.support.rtsp_server import read_index

BREAKS = ("gap", "resize")
LATE_S = 1.5
"""From this lag on somebody would call a camera late."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One published frame. Times are Unix seconds; `age_s`: from when the camera was due to send it to its publication,
    as far as its number tells (modulo the clip).
    """

    published_at_s: float
    captured_at_s: float
    age_s: float
    flags: tuple[str, ...]

    @property
    def sent_at_s(self) -> float:
        """When the camera was due to send it."""
        return self.published_at_s - self.age_s


class CameraWatch:
    """Sees what a camera publishes, also after it was connected anew or set up anew under its name.

    `began_s`: when the camera was due to send number 0 (Unix time), as of now; `fps` and `count` of its clip.
    """

    def __init__(
        self, service: Service, name: str, *, began_s: Callable[[], float], fps: float, count: int
    ) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.fps = fps
        self._service = service
        self._began_s, self._count = began_s, count
        self._hub = None if name not in service.cameras else service.cameras[name].hub
        if self._hub is not None:
            self._hub.listen(self._see)
        service.cameras.watch(self)

    def close(self) -> None:
        """Watch no more."""
        self._service.cameras.unwatch(self)
        if self._hub is not None:
            self._hub.unlisten(self._see)

    def came(self, camera: CameraPipeline) -> None:
        """See `stream.cameras.CameraWatcher`."""
        if camera.name == self.name:
            self._hub = camera.hub
            camera.hub.listen(self._see)

    def went(self, camera: CameraPipeline) -> None:
        """See `stream.cameras.CameraWatcher`."""

    @property
    def status(self) -> CameraStatus:
        """What the API says of it."""
        return self._service.cameras[self.name].status()

    @property
    def lag_s(self) -> float:
        """What the metric says."""
        registry = self._service.registry
        return registry.get_sample_value("syncvis_camera_lag_seconds", {"camera": self.name}) or 0.0

    @property
    def frozen(self) -> bool:
        """What the metric says."""
        return bool(self._service.registry.get_sample_value("syncvis_camera_frozen", {"camera": self.name}))

    def _see(self, frame: TrackedFrame | None) -> None:
        if frame is None:
            return
        at = (frame.published_at_s - self._began_s()) * self.fps
        age_s = ((at - read_index(frame.image)) % self._count) / self.fps
        self.seen.append(Seen(frame.published_at_s, frame.captured_at_s, age_s, frame.flags))

    def between(self, start_s: float, end_s: float = float("inf")) -> list[Seen]:
        """Those published in this time (Unix seconds)."""
        return [each for each in self.seen if start_s <= each.published_at_s < end_s]


def breaks(frames: Iterable[Seen]) -> list[str]:
    """The breaks that frames were flagged with, in order."""
    return [flag for frame in frames for flag in frame.flags if flag in BREAKS]


def what_it_says(status: CameraStatus) -> str:
    """Of a camera that is down, why; else nothing."""
    return "" if status.up else (status.last_error or "down").rpartition(": ")[2]


class Since:
    """What there is to see of a camera that was not so when this was made. `found`: when (Unix time) that was first
    noticed by `look`, and as what.
    """

    def __init__(self, watch: CameraWatch) -> None:
        self.watch = watch
        self.at_s = time.time()
        self.found_at_s: float | None = None
        self.found_as = ""
        self._before = watch.status

    def look(self) -> None:
        """Look once, until something is found."""
        if self.found_at_s is None and (sign := self.sign()) is not None:
            self.found_at_s, self.found_as = time.time(), sign

    def sign(self) -> str | None:
        """The first thing that the state, a metric or a frame's flags say now; None: all is as it was."""
        now, before = self.watch.status, self._before
        if not now.up or now.last_error != before.last_error:
            return what_it_says(now) or "down"
        if self.watch.frozen:
            return "frozen"
        if DAMAGED in {flag for frame in self.watch.between(self.at_s) for flag in frame.flags}:
            return "flag: damaged"
        corrupt = now.dropped.get("corrupt", 0) - before.dropped.get("corrupt", 0)
        if corrupt > 0:
            return "corrupt frames"
        lag_s = self.watch.lag_s
        if lag_s > LATE_S:
            return f"lag {lag_s:.0f} s"
        found = breaks(self.watch.between(self.at_s))
        return f"flag: {found[0]}" if found else None

    @property
    def disturbed(self) -> str | None:
        """What of that no machine does to a camera, however busy it is."""
        now, before = self.watch.status, self._before
        if now.reconnects != before.reconnects:
            return "connected anew"
        return what_it_says(now) or (None if now.last_error == before.last_error else now.last_error)

    @property
    def dropped(self) -> int:
        """Frames that were given up."""
        return sum(self.watch.status.dropped.values()) - sum(self._before.dropped.values())


def delay_ms(cameras: Iterable[CameraWatch], start_s: float, end_s: float, percent: int) -> int | None:
    """A percentile, by nearest rank, of the time that the pictures published in a time took from their cameras to their
    publication; None where there were none.
    """
    ages_s = sorted(frame.age_s for camera in cameras for frame in camera.between(start_s, end_s))
    return round(1000 * ages_s[max(0, -(-percent * len(ages_s) // 100) - 1)]) if ages_s else None


def longest_pause_s(frames: Iterable[Seen]) -> float:
    """The longest time between two frames that were published one after the other."""
    return max(
        (after.published_at_s - frame.published_at_s for frame, after in pairwise(frames)), default=0.0
    )
