"""Traces of frames reach a collector by OTLP, and a real Prometheus holds an exemplar that leads to one."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stream.config import TracingConfig
from stream.errors import ConfigError
from stream.metrics import STAGES
from stream.tracing import Tracing
from tests.integration.processes import ServeProcess, write_config
from tests.integration.test_prometheus import prometheus, until

pytestmark = pytest.mark.integration

SECRET = "collector-secret-of-a-test"


class Collector:
    """Takes what a real exporter sends, and reads it with OpenTelemetry's own messages."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.tokens: set[str | None] = set()

    def take(self, body: bytes, token: str | None) -> None:
        self.tokens.add(token)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(about["service.name"])
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def traces(self) -> dict[str, list[Span]]:
        """Spans by trace, the whole frame's first."""
        by_trace: dict[str, list[Span]] = {}
        for span in self.spans:
            by_trace.setdefault(span.trace_id.hex(), []).append(span)
        return {
            name: sorted(spans, key=lambda span: bool(span.parent_span_id))
            for name, spans in by_trace.items()
        }


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(body, self.headers.get("Authorization"))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def config_with(folder: Path, **tracing: object) -> Path:
    config = write_config(folder, {"yard": "synthetic:7?size=160x96"})
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "tracing": tracing}))
    return config


def test_a_trace_says_where_a_frame_s_time_went_and_an_exemplar_leads_to_it(tmp_path: Path) -> None:
    with collecting() as collector:
        config = config_with(
            tmp_path, endpoint=collector.address, ratio=1.0, headers={"authorization": f"Bearer {SECRET}"}
        )
        with (
            ServeProcess(config) as server,
            prometheus(tmp_path, server.address.removeprefix("http://")) as http,
        ):
            plain = httpx.get(server.address + "/metrics")

            def exemplars() -> set[str]:
                query = {
                    "query": "syncvis_capture_to_publish_seconds_bucket",
                    "start": "0",
                    "end": "9999999999",
                }
                found = http.get("/api/v1/query_exemplars", params=query).json()["data"]
                return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}

            until(lambda: exemplars() & collector.traces().keys())
        assert SECRET not in server.errors()
    assert plain.headers["content-type"].startswith("text/plain"), "for whoever does not ask for OpenMetrics"
    assert "_created" not in plain.text
    assert collector.tokens == {f"Bearer {SECRET}"}
    assert collector.services == {"syncvis-online"}
    for frame, *stages in collector.traces().values():
        assert (frame.name, frame.parent_span_id) == ("frame", b"")
        assert frame.start_time_unix_nano <= frame.end_time_unix_nano
        assert {span.parent_span_id for span in stages} == {frame.span_id}
        assert [span.name for span in stages] == [
            stage for stage in STAGES if stage in {s.name for s in stages}
        ]
        assert {"queue", "encode", "decode", "track", "masks"} <= {span.name for span in stages}
        assert stages[0].start_time_unix_nano == frame.start_time_unix_nano
        for before, after in pairwise(stages):
            assert before.end_time_unix_nano == after.start_time_unix_nano
        # Microseconds are what the clocks give.
        assert stages[-1].end_time_unix_nano <= frame.end_time_unix_nano + 1_000_000
        attributes = {each.key: each.value for each in frame.attributes}
        assert attributes["syncvis.camera"].string_value == "yard"


def test_a_collector_that_is_away_costs_nothing_but_its_traces(tmp_path: Path) -> None:
    config = config_with(tmp_path, endpoint="http://127.0.0.1:9/v1/traces", ratio=1.0)
    with ServeProcess(config) as server:
        until(lambda: httpx.get(server.address + "/api/cameras/yard").json()["processed"] >= 10)
    assert "Traceback" not in server.errors()


def test_without_the_extra_the_config_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(
        ConfigError, match=r"tracing: needs the extra: pip install 'syncvis-online\[tracing\]'"
    ):
        Tracing(TracingConfig(endpoint="http://127.0.0.1:4318/v1/traces"))


@pytest.mark.timeout(60)
def test_a_collector_that_never_answers_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        with ServeProcess(config_with(tmp_path, endpoint=endpoint, ratio=1.0, timeout_s=60)) as server:
            held, _ = silent.accept()
            with held:
                assert held.recv(1)
                assert server.end()[0] == 0
            assert "the last spans did not reach the collector" in server.errors()
