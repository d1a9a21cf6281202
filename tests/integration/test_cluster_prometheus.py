"""A real Prometheus finds a cluster's workers by asking a gateway, as deploy/prometheus-cluster.yml has it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.test_prometheus import prometheus_with, until
from tests.stream.cluster.local import LocalCluster, local_cluster
from tests.stream.cluster.test_gateway import VIEW, added, config_of
from tests.stream.cluster.test_tls import tls_of

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"


def shipped(folder: Path, gateway: str, tls: dict[str, str]) -> dict[str, Any]:
    """The config as it ships, but for addresses, for where the token is, and for a test's patience."""
    (folder / "token").write_text(VIEW)
    text = (DEPLOY / "prometheus-cluster.yml").read_text()
    for ours, theirs in (
        ("127.0.0.1:8080", gateway),
        ("/etc/prometheus/syncvis-online.token", str(folder / "token")),
        ("alerts.yml", str(DEPLOY / "alerts.yml")),
        ("refresh_interval: 5s", "refresh_interval: 1s"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    (folder / "shipped.yml").write_text(text)
    checked = subprocess.run(
        ["promtool", "check", "config", folder / "shipped.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    config: dict[str, Any] = yaml.safe_load(text)
    if tls:  # as a comment there has it
        (workers,) = (job for job in config["scrape_configs"] if "http_sd_configs" in job)
        workers["tls_config"] = {"ca_file": tls["ca"], "server_name": tls["server_name"]}
    return config


def found(http: httpx.Client, query: str) -> dict[str, float]:
    """Values by worker."""
    results = http.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
    return {each["metric"].get("worker", ""): float(each["value"][1]) for each in results}


def look(folder: Path, cluster: LocalCluster, tls: dict[str, str]) -> None:
    """Wait until Prometheus knows all that there is to know; until() says what it waited for in vain."""
    config = shipped(folder, cluster.address.removeprefix("http://"), tls)
    with prometheus_with(folder, config["scrape_configs"]) as http:
        until(lambda: found(http, "up == 1") == {"": 1, "w0": 1, "w1": 1})
        until(lambda: found(http, 'syncvis_camera_up{camera="door"} == 1').keys() <= {"w0", "w1"})
        until(lambda: found(http, 'syncvis_cluster_cameras{state="assigned"}') == {"": 1})
        until(lambda: found(http, "syncvis_cluster_capacity_windows_per_second > 0").keys() == {"w0", "w1"})
        cluster.book.drain("w1")
        until(lambda: found(http, "syncvis_cluster_capacity_windows_per_second == 0").keys() == {"w1"})
        cluster.book.died("w1")
        until(lambda: found(http, "up").keys() == {"", "w0"})
        errors = {each["lastError"] for each in http.get("/api/v1/targets").json()["data"]["activeTargets"]}
        assert errors == {""}
    exposition = httpx.get(cluster.address + "/metrics").content
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize("secure", [False, True])
async def test_prometheus_finds_workers_by_way_of_a_gateway_with_a_token(
    tmp_path: Path, secure: bool
) -> None:
    tls = tls_of(tmp_path, "workers.test") if secure else {}
    section = {"tls": tls} if secure else {}
    async with local_cluster(config_of(section, tokens=[VIEW]), token=VIEW) as cluster:
        unasked = await cluster.http.get("/api/cluster/targets", headers={"Authorization": ""})
        assert unasked.status_code == 401
        await added(cluster, "door")
        async with cluster.beating():
            await asyncio.to_thread(look, tmp_path, cluster, tls)
