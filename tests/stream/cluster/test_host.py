"""A worker runs cameras that it may not publish: to be ready for them, or until it hears whether it still may."""

from __future__ import annotations

from stream.cluster.book import MARGIN
from tests.stream.cluster.local import LEASE_S, LocalWorker, local_cluster
from tests.stream.cluster.test_gateway import added, config_of


def published(worker: LocalWorker) -> float:
    value = worker.service.registry.get_sample_value("syncvis_frames_published_total", {"camera": "door"})
    return value or 0.0


def unheard(worker: LocalWorker) -> float:
    labels = {"camera": "door", "cause": "not_ours"}
    return worker.service.registry.get_sample_value("syncvis_frames_dropped_total", labels) or 0.0


async def test_who_is_ready_goes_on_without_a_new_connection_and_was_not_heard_before() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door")
        lost = cluster.owner("door")
        (other,) = (worker for worker in cluster.workers.values() if worker is not lost)
        assert lost is not None
        await cluster.beat_until(lambda: cluster.book._cameras.known["door"].snapshot.data)
        lost.silent = True
        await cluster.beat_until(lambda: unheard(other) > 2)
        assert (published(other), cluster.owner("door")) == (0.0, lost)
        ready = other.service.cameras["door"]
        lost.offset_s += MARGIN * LEASE_S
        cluster.ahead_s += MARGIN * LEASE_S
        await cluster.beat_until(lambda: published(other) > 2)
        assert cluster.owner("door") is other
        assert other.service.cameras["door"] is ready
        assert (latest := ready.hub.latest) is not None
        assert latest.epoch == 2


async def test_who_comes_back_in_time_keeps_its_camera_and_the_other_lets_go() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door")
        slow = cluster.owner("door")
        (other,) = (worker for worker in cluster.workers.values() if worker is not slow)
        assert slow is not None
        slow.silent = True
        await cluster.beat_until(lambda: unheard(other) > 0)
        slow.silent = False
        await cluster.beat_until(lambda: "door" not in other.service.cameras)
        before = published(slow)
        await cluster.beat_until(lambda: published(slow) > before)
        assert (published(other), cluster.owner("door")) == (0.0, slow)


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
