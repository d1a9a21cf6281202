"""What Prometheus is told of a cluster, by any gateway: the table in numbers. And where the workers are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from stream.cluster.messages import Table
from stream.cluster.placement import ASSUMED_WPS


class Known(Protocol):
    """A directory: where everything is, and whether the controller is away."""

    table: Table
    away: bool


class GatewayMetrics:
    """A gateway's own registry, which asks the directory when it is scraped."""

    def __init__(self, directory: Known) -> None:
        self.registry = CollectorRegistry()
        self.cluster = _OfCluster(directory)
        self.registry.register(self.cluster)
        ProcessCollector(registry=self.registry)
        self.stale = Counter(
            "syncvis_gateway_stale_results",
            "Results that came of a worker which has the camera no more, and were not passed on.",
            registry=self.registry,
        )
        self.cut = Counter(
            "syncvis_subscribers_cut",
            "Clients that were cut because they stopped reading.",
            ("transport",),
            registry=self.registry,
        )
        self.refused = Counter(
            "syncvis_requests_refused",
            "What clients were refused because they asked for too much.",
            ("reason",),
            registry=self.registry,
        )


class _OfCluster(Collector):
    def __init__(self, directory: Known) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        table, away = self._directory.table, self._directory.away
        yield GaugeMetricFamily(
            "syncvis_cluster_controller_up",
            "1 while the controller answers this gateway, else 0.",
            float(not away),
        )
        yield _cameras(table)
        yield GaugeMetricFamily("syncvis_cluster_workers", "Workers that report.", len(table.workers))
        yield GaugeMetricFamily(
            "syncvis_cluster_places",
            "Workers that should report: as many as the nodes have room for, less those that were too many.",
            table.places,
        )
        yield GaugeMetricFamily(
            "syncvis_cluster_problems",
            "What is wrong, as /api/cluster has it, in lines.",
            len(table.problems),
        )
        capacity = GaugeMetricFamily(
            "syncvis_cluster_capacity_windows_per_second",
            "Windows that a worker's engine answers in a second of work, a guess until it is measured; "
            "0 while it is drained.",
            labels=("worker",),
        )
        demand = GaugeMetricFamily(
            "syncvis_cluster_demand_windows_per_second",
            "Windows that a worker's cameras ask for.",
            labels=("worker",),
        )
        for worker in table.workers:
            here = 0.0 if worker.draining else worker.capacity_wps or ASSUMED_WPS
            capacity.add_metric([worker.worker], here)
            demand.add_metric([worker.worker], worker.demand_wps)
        yield from (capacity, demand)
        counted = (
            (
                "failovers",
                "Times that a camera's worker was lost and it had to go on elsewhere.",
                table.failovers,
            ),
            ("moves", "Times that a camera went to another worker in good order.", table.moves),
            ("epoch_conflicts", "Reports of workers of cameras that are others' by now.", table.conflicts),
        )
        for name, text, value in counted:
            yield CounterMetricFamily(f"syncvis_cluster_{name}", text, value)


def _cameras(table: Table) -> Metric:
    cameras = GaugeMetricFamily(
        "syncvis_cluster_cameras", "Cameras, by whether a worker has them.", labels=("state",)
    )
    assigned = sum(owner is not None for owner in table.cameras.values())
    cameras.add_metric(["assigned"], assigned)
    cameras.add_metric(["unassigned"], len(table.cameras) - assigned)
    return cameras


def targets(table: Table) -> list[dict[str, object]]:
    """The workers, as Prometheus' HTTP service discovery has it."""
    return [
        {
            "targets": [worker.address.partition("://")[2]],
            "labels": {
                "__scheme__": worker.address.partition("://")[0],
                "worker": worker.worker,
                "node": worker.node[:12],
            },
        }
        for worker in table.workers
    ]
