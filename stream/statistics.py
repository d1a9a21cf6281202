"""What happened to the frames of one camera, counted in one place.

Owns the numbers behind a camera's status and writes each through to the Prometheus metrics, so that the two
never disagree. Bounded: latencies and rates look back over the newest frames only. Does not know where events
come from.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry

from stream.events import TrackEvent
from stream.metrics import PACES, Metrics, Pace
from stream.recent import Recent
from stream.types import DAMAGED, TrackedFrame
from stream.zones import ZoneView

FPS_WINDOW_S = 5.0
GLASS_WINDOW_S = 10.0
AWAY = "away"
"""The state of a camera that should deliver frames and does not."""

RECENT_VALUES = 256
PACE_WINDOW_S = 5.0

ViewerKind = Literal["overlay", "plain", "passed"]
"""Who watches: the overlay; with masks as data the picture encoded again, or the camera's own."""


@dataclass(frozen=True, slots=True)
class LatencyMs:
    """Percentiles, by nearest rank, of the capture-to-publish latency in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class GlassMs:
    """Percentiles of the time from capture to a viewer's screen in milliseconds, over the last seconds."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera as of now. `url` is masked; `latency_ms` is None before the first published frame.

    `received`, `processed`, `dropped` (by cause) and `reconnects` count since the start; `fps` is of frames
    published in the last seconds; `active_tracks` are those seen on the newest frame; `last_error` is one line;
    `state` is up, away or "waiting for publisher"; `stages_ms` is the median of each stage over the last seconds;
    `glass_ms` is None while no viewer reports; `pace` is the worst of the last seconds: anything but "normal" says that
    frames come faster than the model answers.
    """

    name: str
    url: str
    up: bool
    received: int
    processed: int
    fps: float
    reconnects: int
    active_tracks: int
    subscribers: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    latency_ms: LatencyMs | None = None
    last_error: str | None = None
    state: str = AWAY
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    glass_ms: GlassMs | None = None
    pace: Pace = "normal"


class CameraStatistics:
    """The counts of one camera. Call it on the event loop's thread.

    `url` is shown as given, so mask it first. `recent` is how many of the newest frames the latency
    percentiles look back over. `monotonic` gives seconds. `down` is the state of a camera that delivers nothing.
    """

    def __init__(
        self,
        camera: str,
        url: str,
        metrics: Metrics,
        *,
        recent: int = 1024,
        monotonic: Callable[[], float] = time.monotonic,
        down: str = AWAY,
    ) -> None:
        self._down = down
        self.camera = camera
        self._url = url
        self._metrics = metrics
        self._monotonic = monotonic
        self._latencies_s: deque[float] = deque(maxlen=recent)
        self._published_at: deque[float] = deque(maxlen=recent)
        self._stages_s: dict[str, Recent] = {}
        self._pace_at: dict[Pace, float] = {}
        self._glass_s = Recent(GLASS_WINDOW_S, recent, monotonic)
        self._dropped: Counter[str] = Counter()
        self._viewers: dict[ViewerKind, int] = {}
        self._inside: dict[str, set[str]] = {}
        self._received = self._processed = self._reconnects = self._subscribers = self._active_tracks = 0
        self._up = self._went_down = False
        self._last_error: str | None = None
        metrics.add_camera(camera)
        metrics.camera_waiting.labels(camera).set(self._waits)

    @property
    def _waits(self) -> bool:
        """Whether this camera, while it is down, waits to be published."""
        return self._down != AWAY

    def received(self, at_s: float, transit_s: float | None) -> None:
        """A frame came out of the source at Unix time `at_s`, `transit_s` after its capture if that is
        known.
        """
        self._received += 1
        self._metrics.received.labels(self.camera).inc()
        self._metrics.last_frame.labels(self.camera).set(at_s)
        if transit_s is not None:
            self.stage("receive", transit_s)

    def behind(self, lag_s: float) -> None:
        """The newest frame arrived so much later than the earliest of the last minute, by the camera's time."""
        self._metrics.camera_lag.labels(self.camera).set(lag_s)

    def dropped(self, cause: str, count: int = 1) -> None:
        """`count` frames will get no answer."""
        self._dropped[cause] += count
        self._metrics.dropped.labels(self.camera, cause).inc(count)

    def published(self, frame: TrackedFrame, latency_s: float, trace_id: str | None = None) -> None:
        """A frame was handed to the subscribers, `latency_s` after its capture. `trace_id`: of its trace, if any."""
        self._processed += 1
        # Frames that were in work when the camera went down are answered after it.
        self._active_tracks = 0 if self._went_down else sum(track.seen for track in frame.tracks)
        self._latencies_s.append(latency_s)
        self._published_at.append(self._monotonic())
        self._metrics.published.labels(self.camera).inc()
        self._metrics.active_tracks.labels(self.camera).set(self._active_tracks)
        self._metrics.camera_frozen.labels(self.camera).set(not self._went_down and "stale" in frame.flags)
        if DAMAGED in frame.flags:
            self._metrics.damaged.labels(self.camera).inc()
        exemplar = None if trace_id is None else {"trace_id": trace_id}
        histogram = self._metrics.capture_to_publish.labels(self.camera, frame.clock)
        histogram.observe(max(0.0, latency_s), exemplar)

    def stage(self, stage: str, seconds: float) -> None:
        """Something spent time in a stage. Clocks of two machines can disagree: below zero counts as zero."""
        seconds = max(0.0, seconds)
        self._metrics.stage.labels(stage).observe(seconds)
        if stage not in self._stages_s:
            self._stages_s[stage] = Recent(FPS_WINDOW_S, RECENT_VALUES, self._monotonic)
        self._stages_s[stage].add(seconds)

    def turn(self, pace: Pace, windows: int, busy_s: float) -> None:
        """The camera had its turn: so many windows, which kept the engine busy for so long."""
        self._pace_at[pace] = self._monotonic()
        self._metrics.windows.labels(self.camera, pace).inc(windows)
        self._metrics.engine_busy.inc(busy_s)

    def ring_fill(self, ratio: float) -> None:
        """The frame buffer is that full, 0 to 1."""
        self._metrics.ring_fill.labels(self.camera).set(ratio)

    def reconnected(self, reason: str) -> None:
        """Frames came back; `reason` is the kind of failure before it, of a handful of words."""
        self._reconnects += 1
        self._metrics.reconnects.labels(self.camera, reason).inc()

    def up(self, up: bool) -> None:
        """The camera delivers frames, or it does not. A camera that is down has no active tracks."""
        self._up, self._went_down = up, not up
        self._metrics.camera_up.labels(self.camera).set(up)
        self._metrics.camera_waiting.labels(self.camera).set(not up and self._waits)
        if not up:
            self._metrics.camera_frozen.labels(self.camera).set(0)
            self._metrics.camera_lag.labels(self.camera).set(0)
            self._active_tracks = 0
            self._metrics.active_tracks.labels(self.camera).set(0)

    def subscribers(self, count: int) -> None:
        """That many subscriptions are open."""
        self._subscribers = count
        self._metrics.subscribers.labels(self.camera).set(count)

    def viewers(self, count: int, kind: ViewerKind = "overlay") -> None:
        """That many watch over WebRTC in this way."""
        self._viewers[kind] = count
        self._metrics.viewers.labels(self.camera).set(sum(self._viewers.values()))

    def shown(self, latency_s: float, error_s: float) -> None:
        """A viewer showed a picture so long after its capture, give or take the error of what is known of its clock."""
        self._glass_s.add(latency_s)
        self._metrics.capture_to_glass.labels(self.camera).observe(latency_s)
        self._metrics.glass_clock_error.labels(self.camera).observe(error_s)

    def glass_refused(self, reason: str) -> None:
        """Something that a viewer said of what it showed was not believed; `reason` is of a handful of words."""
        self._metrics.glass_refused.labels(self.camera, reason).inc()

    def passed(self, masks: str) -> None:
        """One of the camera's own pictures went out as it is: with its "own" masks; with "none", since the model did
        not answer it; or without, since they were "late".
        """
        self._metrics.passed.labels(self.camera, masks).inc()

    def packets_lost(self, count: int) -> None:
        """So many of the camera's own pictures were not taken from the reader in time."""
        self._metrics.packets_lost.labels(self.camera).inc(count)

    def masks_dropped(self) -> None:
        """A viewer did not get the masks of a picture: it does not read them."""
        self._metrics.masks_dropped.labels(self.camera).inc()

    def encoded(self, codec: str, keyframe: bool, seconds: float) -> None:
        """A picture was encoded for all who watch with this codec, `seconds` after it was wanted."""
        self._metrics.encoded.labels(self.camera, codec).inc()
        if keyframe:
            self._metrics.keyframes.labels(self.camera, codec).inc()
        self.stage("video", seconds)

    def viewer_dropped(self) -> None:
        """A viewer did not get a picture that others got."""
        self._metrics.viewer_dropped.labels(self.camera).inc()

    def happened(self, event: TrackEvent) -> None:
        """Something happened to a track."""
        metrics, camera = self._metrics, self.camera
        metrics.track_events.labels(camera, event.event).inc()
        if event.event == "enter":
            metrics.zone_enters.labels(camera, event.zone, event.label).inc()
        elif event.event == "cross":
            metrics.line_crossings.labels(camera, event.line, event.direction, event.label).inc()
        elif event.event == "leave" and event.dwell_s is not None:
            metrics.zone_dwell.labels(camera, event.zone).observe(event.dwell_s)

    def inside(self, zones: Iterable[ZoneView]) -> None:
        """So many are in each zone now."""
        for zone in zones:
            seen = self._inside.setdefault(zone.name, set())
            seen.update(zone.counts)
            for label in seen:
                self._metrics.zone_inside.labels(self.camera, zone.name, label).set(zone.counts.get(label, 0))

    def remove_zone(self, zone: str) -> None:
        """A zone is there no more: its series go."""
        self._inside.pop(zone, None)
        self._metrics.remove_zone(self.camera, zone)

    def remove_line(self, line: str) -> None:
        """A line is there no more: its series go."""
        self._metrics.remove_line(self.camera, line)

    def error(self, message: str) -> None:
        """Something went wrong; one line, without a password."""
        self._last_error = message

    def engine_failed(self, message: str) -> None:
        """The engine raised on a window of this camera."""
        self.error(message)
        self._metrics.engine_failures.labels(self.camera).inc()

    def out_of_slots(self, frames: int) -> None:
        """After so many more frames the tracker had no slot left."""
        self._metrics.out_of_slots.labels(self.camera).inc(frames)

    def remove(self) -> None:
        """The camera is gone: its series go too. What its viewers still tell as they leave makes no new ones."""
        metrics, self._metrics = self._metrics, Metrics(CollectorRegistry())
        metrics.remove_camera(self.camera)

    def status(self) -> CameraStatus:
        """All of it, as of now."""
        return CameraStatus(
            name=self.camera,
            url=self._url,
            up=self._up,
            received=self._received,
            processed=self._processed,
            fps=self._fps(),
            reconnects=self._reconnects,
            active_tracks=self._active_tracks,
            subscribers=self._subscribers,
            dropped=dict(self._dropped),
            latency_ms=latency_percentiles(self._latencies_s),
            last_error=self._last_error,
            state="up" if self._up else self._down,
            stages_ms=self._medians_ms(),
            glass_ms=self._glass_ms(),
            pace=self._pace(),
        )

    def _pace(self) -> Pace:
        now = self._monotonic()
        recent = [pace for pace in PACES if now - self._pace_at.get(pace, -PACE_WINDOW_S) < PACE_WINDOW_S]
        return recent[-1] if recent else "normal"

    def _medians_ms(self) -> dict[str, float]:
        medians = {stage: times.quantile(0.5) for stage, times in self._stages_s.items()}
        return {stage: round(1000 * median, 2) for stage, median in medians.items() if median is not None}

    def _glass_ms(self) -> GlassMs | None:
        p50, p95 = self._glass_s.quantile(0.5), self._glass_s.quantile(0.95)
        return None if p50 is None or p95 is None else GlassMs(round(1000 * p50, 1), round(1000 * p95, 1))

    def _fps(self) -> float:
        now = self._monotonic()
        recent = [at for at in self._published_at if now - at <= FPS_WINDOW_S]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])


def latency_percentiles(latencies_s: Sequence[float] | deque[float]) -> LatencyMs | None:
    """p50, p95 and p99 by nearest rank, in milliseconds; None of no values."""
    if not latencies_s:
        return None
    ordered = sorted(latencies_s)

    def rank(percent: int) -> float:
        return round(1000 * ordered[max(0, -(-percent * len(ordered) // 100) - 1)], 2)

    return LatencyMs(rank(50), rank(95), rank(99))
