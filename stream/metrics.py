"""Every Prometheus metric, declared once.

Owns names, help texts, labels and buckets, on a registry that is passed in (so that a process can hold
several services). Labels are cameras, stages, causes and clocks, never a viewer, a track or a URL. A camera's
series go when the camera goes. Does not know when something happens: `stream.statistics` says so.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

STAGES = (
    *("receive", "queue", "schedule"),
    *("preprocess", "encode", "handover", "decode", "track", "masks"),
    *("blur", "publish", "overlay", "video"),
)
"""Where a frame's time goes: capture to the reader (live only), the wait in the ring, the wait for the engine's thread;
the engine's own stages (`handover`: where the second half of its work has a thread of its own, the wait for that); and
handing out; while somebody watches, drawing and video encoding."""

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5.0)
"""5 ms to 5 s with an edge on the objective: 100 ms from capture to publication."""

GLASS_BUCKETS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.5, 5.0, 10.0)
CLOCK_ERROR_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)

Pace = Literal["normal", "widened", "skipping"]
"""How a camera is answered: every frame at the usual stride; every frame, but more at a time; or not every frame."""
PACES: tuple[Pace, ...] = ("normal", "widened", "skipping")

REFUSALS = ("rate", "connections", "body", "head", "slow")
"""Too many requests a second, too many at the same time, too large a body or head, a request that came too slowly."""

DWELL_BUCKETS_S = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
"""From who passes by to who stays for an hour."""

CAMERA = ("camera",)


class Metrics:
    """All metrics of one service on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._declare_frames()
        self._declare_readers()
        self._declare_viewers()
        self._declare_cameras()
        self._declare_times()
        self.build = Gauge(
            "syncvis_build_info", "1, with the version as a label.", ("version",), registry=registry
        )
        self.build.labels(version=package_version()).set(1)
        self.engine = self._gauge(
            "engine_info",
            "1, with what computes the network as labels: library, device, precision.",
            ("engine", "device", "precision"),
        )
        self._by_camera: tuple[Counter | Gauge, ...] = (
            *(self.received, self.published, self.damaged, self.engine_failures, self.out_of_slots),
            *(self.ring_fill, self.active_tracks, self.subscribers, self.camera_up, self.viewers),
            *(self.viewer_dropped, self.packets_lost, self.masks_dropped),
            *(self.camera_waiting, self.camera_frozen, self.camera_lag),
        )
        for stage in STAGES:
            self.stage.labels(stage)
        for transport in ("websocket", "http"):
            self.subscribers_cut.labels(transport)
        for reason in REFUSALS:
            self.requests_refused.labels(reason)
        for subscriber in ("http", "mqtt"):
            self.events_dropped.labels(subscriber)
        ProcessCollector(registry=registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = CAMERA) -> Counter:
        return Counter(name, text, labels, namespace="syncvis", registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = CAMERA) -> Gauge:
        return Gauge(name, text, labels, namespace="syncvis", registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = BUCKETS_S
    ) -> Histogram:
        return Histogram(name, text, labels, namespace="syncvis", registry=self.registry, buckets=buckets)

    def _declare_frames(self) -> None:
        """What becomes of frames."""
        self.received = self._counter("frames_received", "Frames decoded from the camera.")
        self.dropped = self._counter(
            "frames_dropped", "Frames that got no answer, by cause.", ("camera", "cause")
        )
        self.published = self._counter(
            "frames_published", "Frames handed to the subscribers with their tracks."
        )
        self.damaged = self._counter(
            "frames_damaged",
            "Frames published though parts of their pictures were lost on the way, or wrong.",
        )
        self.windows = self._counter(
            "windows",
            "Windows answered, by pace: the usual stride, more frames at a time, or the newest after some were lost.",
            ("camera", "pace"),
        )
        self.engine_busy = self._counter(
            "engine_busy_seconds",
            "Time in which the engine was at work; the share of its time, as a rate.",
            (),
        )
        self.reconnects = self._counter(
            "reconnects", "Times that frames came back, by the kind of failure before.", ("camera", "reason")
        )
        self.engine_failures = self._counter(
            "engine_failures", "Windows on which the engine raised an error."
        )
        self.out_of_slots = self._counter(
            "out_of_slots_frames",
            "Frames after which all of the tracker's slots were taken, so that nothing new can be found.",
        )
        self.ring_fill = self._gauge("ring_fill_ratio", "Fill of the camera's frame buffer, 0 to 1.")
        self.active_tracks = self._gauge("active_tracks", "Tracks on the frame published last.")

    def _declare_readers(self) -> None:
        """Who reads, and what is told."""
        self.subscribers = self._gauge("subscribers", "Subscribers to the camera's tracked frames.")
        self.subscribers_cut = self._counter(
            "subscribers_cut", "Clients that were cut because they stopped reading.", ("transport",)
        )
        self.requests_refused = self._counter(
            "requests_refused", "What clients were refused because they asked for too much.", ("reason",)
        )
        self.track_events = self._counter(
            "track_events", "What happened to tracks, by kind of event.", ("camera", "event")
        )
        self.zone_inside = self._gauge("zone_inside", "Objects inside a zone.", ("camera", "zone", "label"))
        self.zone_enters = self._counter(
            "zone_enters", "Times that an object came into a zone.", ("camera", "zone", "label")
        )
        self.line_crossings = self._counter(
            "line_crossings",
            "Times that an object went across a line.",
            ("camera", "line", "direction", "label"),
        )
        self.zone_dwell = self._histogram(
            "zone_dwell_seconds",
            "Time that objects were inside a zone, of those that left.",
            ("camera", "zone"),
            DWELL_BUCKETS_S,
        )
        self.events_dropped = self._counter(
            "events_dropped", "Events that a subscriber was too slow for, or away.", ("subscriber",)
        )

    def _declare_viewers(self) -> None:
        """Who watches, and what is sent to them."""
        self.viewers = self._gauge("viewers", "Who watches the camera over WebRTC.")
        self.webrtc_sessions = self._gauge(
            "webrtc_sessions",
            "WebRTC sessions of viewers and of publishers, those too that carry nothing yet or any more.",
            ("peers",),
        )
        self.asyncio_tasks = self._gauge(
            "asyncio_tasks", "Tasks of the event loop; with nobody there, as many as there were before.", ()
        )
        self.encoded = self._counter(
            "pictures_encoded", "Overlay pictures encoded, once for all viewers.", ("camera", "codec")
        )
        self.keyframes = self._counter("keyframes_encoded", "Keyframes among them.", ("camera", "codec"))
        self.viewer_dropped = self._counter(
            "viewer_pictures_dropped",
            "Pictures that a viewer did not get because it or its line is too slow.",
        )
        self.passed = self._counter(
            "pictures_passed",
            "The camera's own pictures sent as they are, with their own masks, with none, or without since late.",
            ("camera", "masks"),
        )
        self.packets_lost = self._counter(
            "packets_lost", "The camera's own pictures that were not taken from its reader in time."
        )
        self.masks_dropped = self._counter(
            "masks_dropped", "Masks of a picture that a viewer did not read in time."
        )

    def _declare_cameras(self) -> None:
        """How cameras fare."""
        self.camera_up = self._gauge("camera_up", "1 while the camera delivers frames, else 0.")
        self.camera_waiting = self._gauge(
            "camera_waiting",
            "1 while a published camera (whip:) has no publisher, which is no failure; else 0.",
        )
        self.camera_frozen = self._gauge(
            "camera_frozen", "1 while frames come whose pixels do not change (`pipeline.stale_s`), else 0."
        )
        self.camera_lag = self._gauge(
            "camera_lag_seconds",
            "By how much the newest frame arrived later than the earliest of the last minute, by the camera's time.",
        )
        self.last_frame = self._gauge(
            "last_frame_timestamp_seconds", "Unix time at which the newest frame was received."
        )

    def _declare_times(self) -> None:
        """Where the time goes."""
        self.stage = self._histogram(
            "stage_seconds", "Time that frames or windows spend in a stage.", ("stage",)
        )
        self.capture_to_publish = self._histogram(
            "capture_to_publish_seconds",
            "Time from capture to publication of a frame; clock says whose capture time it is.",
            ("camera", "clock"),
        )
        self.capture_to_glass = self._histogram(
            "capture_to_glass_seconds",
            "Time from capture to the moment at which a viewer says that it showed the picture.",
            CAMERA,
            GLASS_BUCKETS_S,
        )
        self.glass_clock_error = self._histogram(
            "glass_clock_error_seconds",
            "By how much those times may be wrong: half of the way to the viewer and back.",
            CAMERA,
            CLOCK_ERROR_BUCKETS_S,
        )
        self.glass_refused = self._counter(
            "glass_reports_refused",
            "What viewers said of when they showed pictures that was not believed.",
            ("camera", "reason"),
        )

    def add_camera(self, camera: str) -> None:
        """Make a camera's series appear, at zero, so that rates start from the beginning."""
        for metric in self._by_camera:
            metric.labels(camera)
        self.reconnects.labels(camera, "unavailable")
        for pace in PACES:
            self.windows.labels(camera, pace)
        for event in ("born", "lost", "found", "gone"):
            self.track_events.labels(camera, event)

    def remove_zone(self, camera: str, zone: str) -> None:
        """Remove the series of a zone that is there no more."""
        for metric in (self.zone_inside, self.zone_enters, self.zone_dwell):
            metric.remove_by_labels({"camera": camera, "zone": zone})

    def remove_line(self, camera: str, line: str) -> None:
        """Remove the series of a line that is there no more."""
        self.line_crossings.remove_by_labels({"camera": camera, "line": line})

    def remove_camera(self, camera: str) -> None:
        """Remove all series of a camera. Nothing happens when there are none."""
        apart = (
            *(self.dropped, self.windows, self.reconnects, self.last_frame, self.capture_to_publish),
            *(self.capture_to_glass, self.glass_clock_error, self.glass_refused),
            *(self.encoded, self.keyframes, self.passed, self.track_events),
            *(self.zone_inside, self.zone_enters, self.line_crossings, self.zone_dwell),
        )
        for metric in (*self._by_camera, *apart):
            metric.remove_by_labels({"camera": camera})


def package_version() -> str:
    """The version of the installed package, or "unknown" in a bare checkout."""
    try:
        return version("syncvis-online")
    except PackageNotFoundError:
        return "unknown"
