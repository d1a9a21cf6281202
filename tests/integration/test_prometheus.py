"""A real Prometheus scrapes a real server, and promtool has nothing to say about what it finds."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.processes import ServeProcess, write_config

pytestmark = pytest.mark.integration


def until(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if answer := condition():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout_s:.0f} s")


@contextmanager
def prometheus(folder: Path, target: str, *, rules: Path | None = None) -> Iterator[httpx.Client]:
    """A Prometheus on loopback, ready, that scrapes `target` every second, and evaluates rules as often."""
    job = {"job_name": "syncvis-online", "static_configs": [{"targets": [target]}]}
    with prometheus_with(folder, [job], rules=rules) as http:
        yield http


@contextmanager
def prometheus_with(
    folder: Path, jobs: list[dict[str, Any]], *, rules: Path | None = None
) -> Iterator[httpx.Client]:
    """A Prometheus on loopback, ready, with these `scrape_configs`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    timing = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": timing, "rule_files": [str(rules)] if rules else [], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            until(lambda: http.get("/-/ready").status_code == 200)  # before, it answers with a page
            yield http
    finally:
        process.terminate()
        process.wait(60)


def test_prometheus_scrapes_the_server(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"yard": "synthetic:7?size=160x96", "gone": "rtsp://127.0.0.1:9/x"})
    with (
        ServeProcess(config) as server,
        prometheus(tmp_path, server.address.removeprefix("http://")) as http,
    ):

        def query(text: str) -> float | None:
            results = http.get("/api/v1/query", params={"query": text}).json()["data"]["result"]
            return float(results[0]["value"][1]) if results else None

        # Rates need two scrapes; the camera gives ten frames a second, more or less.
        assert until(lambda: query('rate(syncvis_frames_published_total{camera="yard"}[60s])')) > 0
        assert query('up{job="syncvis-online"}') == 1
        assert query('syncvis_camera_up{camera="yard"}') == 1
        assert query('syncvis_camera_up{camera="gone"}') == 0
        latency = (
            'histogram_quantile(0.5, rate(syncvis_capture_to_publish_seconds_bucket{camera="yard"}[60s]))'
        )
        assert 0 < until(lambda: query(latency)) <= 5
        assert query('time() - syncvis_last_frame_timestamp_seconds{camera="yard"} < bool 60') == 1
        targets = http.get("/api/v1/targets").json()["data"]["activeTargets"]
        assert [target["lastError"] for target in targets] == [""]
        exposition = httpx.get(server.address + "/metrics").content
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
