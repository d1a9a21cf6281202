"""docs/metrics.md from the metrics themselves: `python -m stream.metrics_page > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric as Family

from stream.cluster.gateway.numbers import GatewayMetrics
from stream.cluster.messages import Table
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

"""
COLUMNS = """| name | type | labels | unit | meaning |
|---|---|---|---|---|
"""
CLUSTER = """
## Of a cluster

What a gateway has at its `/metrics` ([scale.md](scale.md)), the same at each but for
`syncvis_gateway_stale_results_total`. A worker has at its own all that stands above;
[`deploy/prometheus-cluster.yml`](../deploy/prometheus-cluster.yml) finds workers by way of the gateways.
Failovers, moves and conflicts are counted by the controller: they begin anew when it does.

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
    return _name(next(iter(metric.describe())))


def _name(family: Family) -> str:
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


def unit(name: str) -> str:
    """What its name says that it is in."""
    if name.endswith("_timestamp_seconds"):
        return "Unix seconds"
    if name.endswith("_seconds"):
        return "seconds"
    return "0 to 1" if name.endswith("_ratio") else "1"


def cluster_metrics() -> Iterator[tuple[str, Family, tuple[str, ...]]]:
    """Name, family and labels of what only a gateway has."""

    declared = GatewayMetrics(_Nothing())
    for family in declared.cluster.collect():
        yield _name(family), family, tuple(getattr(family, "_labelnames", ()))
    yield names(declared.stale), next(iter(declared.stale.describe())), ()


class _Nothing:
    """Of which only the names of the metrics are wanted."""

    def __init__(self) -> None:
        self.table, self.away = Table(-1, {}), False


def page() -> str:
    """The whole page."""
    here = "".join(_row(names(m), next(iter(m.describe())), m._labelnames) for m in metrics())
    there = "".join(_row(*each) for each in cluster_metrics())
    return HEAD + COLUMNS + here + TAIL + CLUSTER + COLUMNS + there


def _row(name: str, family: Family, labelled: tuple[str, ...]) -> str:
    labels = ", ".join(f"`{label}`" for label in labelled)
    return f"| `{name}` | {family.type} | {labels} | {unit(name)} | {family.documentation} |\n"


if __name__ == "__main__":
    print(page(), end="")
