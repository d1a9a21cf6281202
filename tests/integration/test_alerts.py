"""Alerts, their pages and the dashboard, held against real tools and a real fault."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.metrics_page import cluster_metrics, metrics, names, page
from tests.integration.processes import ServeProcess, write_config
from tests.integration.test_prometheus import prometheus, until
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/syncvis-online.json"
GROUPS = yaml.safe_load(ALERTS.read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
PROCESS = {
    f"process_{name}"
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds")
}


def known_names() -> set[str]:
    found = {names(metric) for metric in metrics()} | {name for name, *_ in cluster_metrics()}
    histograms = {names(metric) for metric in metrics() if next(iter(metric.describe())).type == "histogram"}
    return found | PROCESS | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:syncvis|process)_[a-z0-9_]+", expression))


def test_the_page_of_metrics_is_as_the_code_is() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page()


def test_promtool_has_nothing_to_say_about_the_rules_and_their_tests_pass() -> None:
    for what in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            ["promtool", *what], cwd=ROOT / "deploy", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_and_a_page_and_asks_for_what_there_is() -> None:
    tests = yaml.safe_load((ROOT / "deploy/alerts_test.yml").read_text())["tests"]
    fired = {
        each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")
    }
    quiet = {
        each["alertname"] for test in tests for each in test["alert_rule_test"] if not each.get("exp_alerts")
    }
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]
    assert fired == quiet == set(headings)
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert names_in(rule["expr"]) <= known_names()


def quickened(folder: Path) -> Path:
    """The rules, that fire at once: durations of minutes are not for a test."""
    rules = yaml.safe_load(ALERTS.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["for"] = "0s"
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    return folder / "alerts.yml"


def test_a_real_prometheus_fires_when_a_camera_dies_and_stops_when_it_is_back(tmp_path: Path) -> None:
    def firing() -> set[str]:
        alerts = http.get("/api/v1/alerts").json()["data"]["alerts"]
        return {
            alert["labels"].get("camera", "")
            for alert in alerts
            if alert["labels"]["alertname"] == "SyncvisCameraDown"
        }

    with RtspServer(tmp_path) as camera:
        config = write_config(
            tmp_path, {"yard": camera.serve_clip(index_frames(25)), "other": "synthetic:7?size=160x96"}
        )
        with (
            ServeProcess(config) as server,
            prometheus(tmp_path, server.address.removeprefix("http://"), rules=quickened(tmp_path)) as http,
        ):
            up = 'min(syncvis_camera_up{camera=~"yard|other"}) == 1'
            until(lambda: http.get("/api/v1/query", params={"query": up}).json()["data"]["result"])
            until(lambda: not firing())
            camera.kill()
            until(lambda: firing() == {"yard"})
            camera.start()
            until(lambda: not firing())


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_what_there_is_in_a_language_that_prometheus_knows(tmp_path: Path) -> None:
    board = json.loads(DASHBOARD.read_text())
    variables = {variable["name"] for variable in board["templating"]["list"]}
    sources = {json.dumps(panel["datasource"]) for panel in board["panels"] if panel["type"] != "row"}
    assert len(sources) == 1
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    with prometheus(tmp_path, "127.0.0.1:9") as http:
        for expression in expressions():
            assert set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval"} <= variables
            assert names_in(expression) <= known_names(), expression
            plain = re.sub(r"\$__rate_interval", "1m", expression)
            answer = http.get("/api/v1/query", params={"query": re.sub(r"\$\w+", "x", plain)})
            assert answer.status_code == 200, answer.text
