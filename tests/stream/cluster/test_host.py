"""A worker runs cameras that it may not publish: to be ready for them, or until it hears whether it still may."""

from __future__ import annotations

from stream.cluster.book import SILENT_S
from tests.stream.cluster.local import LEASE_S, LocalWorker, local_cluster
from tests.stream.cluster.test_gateway import added, config_of


def published(worker: LocalWorker) -> float:
    value = worker.service.registry.get_sample_value("syncvis_frames_published_total", {"camera": "door"})
    return value or 0.0


def unheard(worker: LocalWorker) -> float:
    labels = {"camera": "door", "cause": "not_ours"}
    return worker.service.registry.get_sample_value("syncvis_frames_dropped_total", labels) or 0.0


async def test_who_gets_ready_is_not_heard_and_goes_on_without_a_new_connection() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door")
        lost = cluster.owner("door")
        (other,) = (worker for worker in cluster.workers.values() if worker is not lost)
        assert lost is not None
        lost.silent = True
        await cluster.beat_until(lambda: unheard(other) > 0)
        lost.silent = False
        await cluster.beat_until(lambda: "door" not in other.service.cameras)
        assert cluster.owner("door") is lost, "it came back in time"
        await cluster.beat_until(lambda: cluster.book._cameras.can_go_on("door"))
        lost.silent = True
        await cluster.beat_until(lambda: unheard(other) > 2)
        assert (published(other), cluster.owner("door")) == (0.0, lost)
        ready = other.service.cameras["door"]
        while cluster.owner("door") is lost:
            cluster.ahead_s += SILENT_S / 2
            lost.offset_s += SILENT_S / 2
            await cluster.beat()
        await cluster.beat_until(lambda: published(other) > 2)
        assert other.service.cameras["door"] is ready
        assert (latest := ready.hub.latest) is not None
        assert latest.epoch == 2


async def test_a_lease_that_ran_out_and_is_given_again_costs_no_connection() -> None:
    """As when the controller was away for longer: nobody else can have been given the camera."""
    async with local_cluster(config_of(), workers=1) as cluster:
        await added(cluster, "door")
        (worker,) = cluster.workers.values()
        running = worker.service.cameras["door"]
        worker.silent = True
        worker.offset_s += LEASE_S + 1.0
        await worker.host.settle()
        silent_from = published(worker)
        await cluster.beat_until(lambda: unheard(worker) > 1)
        assert published(worker) <= silent_from + 1, "one may have been on its way"
        worker.silent = False
        await cluster.beat_until(lambda: published(worker) > silent_from + 2)
        assert worker.service.cameras["door"] is running
        assert (latest := running.hub.latest) is not None
        assert latest.epoch == 1
