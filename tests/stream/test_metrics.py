"""The metrics keep Prometheus' conventions, come and go with their camera, and agree with the status."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stream.metrics import BUCKETS_S, Metrics
from stream.statistics import CameraStatistics, LatencyMs, latency_percentiles
from tests.stream.frames import make_tracked


def filled(metrics: Metrics, camera: str) -> CameraStatistics:
    """A camera to which everything has happened once."""
    statistics = CameraStatistics(camera, "rtsp://host/", metrics, monotonic=iter(range(100)).__next__)
    statistics.received(1000.0, 0.02)
    statistics.received(1000.1, None)
    statistics.dropped("overload", 2)
    statistics.published(make_tracked(0, camera, tracks=3), 0.08)
    statistics.published(make_tracked(1, camera, tracks=2), 0.09)
    statistics.ring_fill(0.5)
    statistics.reconnected("unavailable")
    statistics.up(True)
    statistics.subscribers(4)
    statistics.engine_failed("ValueError: x")
    statistics.out_of_slots(3)
    return statistics


def test_promtool_finds_nothing_to_complain_about() -> None:
    metrics = Metrics(CollectorRegistry())
    filled(metrics, "yard")
    exposition = generate_latest(metrics.registry)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_camera_that_is_down_has_no_active_tracks_whatever_was_still_in_work() -> None:
    statistics = filled(Metrics(CollectorRegistry()), "yard")
    statistics.up(False)
    statistics.published(make_tracked(2, "yard", tracks=2), 0.1)
    assert statistics.status().active_tracks == 0
    statistics.up(True)
    statistics.published(make_tracked(3, "yard", tracks=2), 0.1)
    assert statistics.status().active_tracks == 2


def test_status_and_metrics_say_the_same() -> None:
    registry = CollectorRegistry()
    status = filled(Metrics(registry), "yard").status()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"syncvis_{name}", {"camera": "yard", **labels})

    assert value("frames_received_total") == status.received == 2
    assert value("frames_published_total") == status.processed == 2
    assert value("frames_dropped_total", cause="overload") == status.dropped["overload"] == 2
    assert value("reconnects_total", reason="unavailable") == status.reconnects == 1
    assert value("active_tracks") == status.active_tracks == 2
    assert value("subscribers") == status.subscribers == 4
    assert value("camera_up") == status.up == 1
    assert value("engine_failures_total") == 1
    assert value("out_of_slots_frames_total") == 3
    assert value("last_frame_timestamp_seconds") == 1000.1
    assert value("capture_to_publish_seconds_count", clock="arrival") == 2
    assert status.latency_ms == LatencyMs(80.0, 90.0, 90.0)
    assert status.fps == pytest.approx(1.0)
    assert status.last_error == "ValueError: x"


def test_a_camera_that_goes_takes_all_its_series() -> None:
    metrics = Metrics(CollectorRegistry())
    gone, stays = filled(metrics, "gone"), filled(metrics, "stays")
    before = generate_latest(metrics.registry).decode()
    gone.remove()
    after = generate_latest(metrics.registry).decode()
    assert 'camera="gone"' in before
    assert 'camera="gone"' not in after
    assert after.count('camera="stays"') == before.count('camera="stays"')
    stays.remove()
    stays.remove()


def test_a_camera_shows_from_its_start_at_zero() -> None:
    registry = CollectorRegistry()
    CameraStatistics("new", "rtsp://host/", Metrics(registry))
    for name in ("frames_received_total", "frames_published_total", "engine_failures_total", "camera_up"):
        assert registry.get_sample_value(f"syncvis_{name}", {"camera": "new"}) == 0


def test_the_objective_is_an_edge_of_the_buckets() -> None:
    assert 0.1 in BUCKETS_S
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
    assert (BUCKETS_S[0], BUCKETS_S[-1], len(BUCKETS_S)) == (0.005, 5.0, 10)


def test_percentiles_are_of_values_that_occurred() -> None:
    assert latency_percentiles([]) is None
    assert latency_percentiles([0.2]) == LatencyMs(200.0, 200.0, 200.0)
    assert latency_percentiles([i / 1000 for i in range(100, 0, -1)]) == LatencyMs(50.0, 95.0, 99.0)


def test_clocks_that_disagree_give_no_negative_time() -> None:
    registry = CollectorRegistry()
    statistics = CameraStatistics("yard", "rtsp://host/", Metrics(registry))
    statistics.received(1000.0, -0.5)
    statistics.published(make_tracked(0, "yard"), -0.5)
    total = registry.get_sample_value(
        "syncvis_capture_to_publish_seconds_sum", {"camera": "yard", "clock": "arrival"}
    )
    assert total == 0
