"""docs/metrics.md from the metrics themselves: `python -m stream.metrics_page > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.metrics import Metrics

Metric = Counter | Gauge | Histogram

HEAD = """# Metrics

<!-- Made by `python -m stream.metrics_page > docs/metrics.md`; a test says so when it is not as the code is. -->

`GET /metrics` on the server's own port, in Prometheus' text format, or in OpenMetrics where that is asked for. Times
are in seconds, shares from 0 to 1, timestamps in Unix seconds. A counter's name ends in `_total`; a histogram `X` has
`X_bucket`, `X_sum` and `X_count`. Labels are few: cameras, zones, lines, classes, causes, stages, never a viewer, a
track or a URL. All series of a camera go when it is removed. Rules for alerts are in
[`deploy/alerts.yml`](../deploy/alerts.yml), what to do about them in [runbook.md](runbook.md), a dashboard for Grafana
in [`deploy/grafana`](../deploy/grafana).

| name | type | labels | unit | meaning |
|---|---|---|---|---|
"""

TAIL = """
Beside these are the process's own, with their usual names: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`, `process_start_time_seconds`,
`process_virtual_memory_bytes`.

With [traces](tracing.md), `syncvis_capture_to_publish_seconds_bucket` has exemplars: the `trace_id` of a frame that
took so long. They are in the OpenMetrics format only, which Prometheus asks for by itself; it keeps them with
`--enable-feature=exemplar-storage`.
"""


def metrics() -> Iterator[Metric]:
    """Every metric, in the order in which it is declared."""
    declared = Metrics(CollectorRegistry())
    for value in vars(declared).values():
        if isinstance(value, Counter | Gauge | Histogram):
            yield value


def names(metric: Metric) -> str:
    """As Prometheus has it."""
    family = next(iter(metric.describe()))
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def unit(name: str) -> str:
    """What its name says that it is in."""
    if name.endswith("_timestamp_seconds"):
        return "Unix seconds"
    if name.endswith("_seconds"):
        return "seconds"
    return "0 to 1" if name.endswith("_ratio") else "1"


def page() -> str:
    """The whole page."""
    rows = []
    for metric in metrics():
        family, name = next(iter(metric.describe())), names(metric)
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append(f"| `{name}` | {family.type} | {labels} | {unit(name)} | {family.documentation} |\n")
    return HEAD + "".join(rows) + TAIL


if __name__ == "__main__":
    print(page(), end="")
