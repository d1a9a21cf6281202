"""Who drains workers waits until they have nothing left, and is told by name what stays where."""

from __future__ import annotations

import pytest

from stream.cluster.drain import drain
from stream.errors import ClusterError, ConfigError
from tests.stream.cluster.local import LocalCluster, local_cluster
from tests.stream.cluster.test_gateway import added, config_of


def held(cluster: LocalCluster, worker: str) -> int:
    (found,) = [each.cameras for each in cluster.book.table().workers if each.worker == worker]
    return found


async def test_it_ends_when_the_worker_has_none_and_all_are_elsewhere() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door", "yard", "gate")
        before = held(cluster, "w0")
        assert before
        async with cluster.beating():
            assert await drain(cluster, workers=["w0"], within_s=60) == {"w0": before}
            assert held(cluster, "w0") == 0
            assert not cluster.workers["w0"].service.cameras
            assert await drain(cluster, workers=["w0"], within_s=60) == {"w0": 0}
        await cluster.beat_until(lambda: held(cluster, "w1") == 3)


async def test_a_node_is_all_of_its_workers_and_another_one_has_none() -> None:
    async with local_cluster(config_of(), workers=1) as cluster:
        async with cluster.beating():
            assert await drain(cluster, node="node", within_s=60) == {"w0": 0}
            assert await drain(cluster, node="other", within_s=60) == {}
        assert [each.draining for each in cluster.book.table().workers] == [True]


async def test_what_nobody_else_takes_is_told_when_the_time_is_over() -> None:
    async with local_cluster(config_of(), workers=1) as cluster:
        await added(cluster, "door")
        async with cluster.beating():
            with pytest.raises(
                ClusterError, match=r"within 0\.3 s: w0 has 1 camera\(s\); no other worker takes any"
            ):
                await drain(cluster, workers=["w0"], within_s=0.3)


async def test_a_worker_that_is_not_there_is_told_with_those_that_are_and_nothing_is_drained() -> None:
    async with local_cluster(config_of()) as cluster:
        with pytest.raises(ConfigError, match="no worker w9: there is w0, w1"):
            await drain(cluster, workers=["w0", "w9"], within_s=60)
        assert not any(each.draining for each in cluster.book.table().workers)


async def test_a_controller_that_is_away_is_waited_for_and_then_told() -> None:
    async with local_cluster(config_of()) as cluster:
        cluster.away = True
        with pytest.raises(ClusterError, match=r"controller has not answered within 0\.3 s: no answer"):
            await drain(cluster, node="node", within_s=0.3)


async def test_a_controller_that_forgot_is_asked_again() -> None:
    """Who drains is in its memory alone; another one knows nothing of it."""
    async with local_cluster(config_of(), workers=1) as cluster:
        await added(cluster, "door")
        with pytest.raises(ClusterError):
            await drain(cluster, workers=["w0"], within_s=0.1)
        cluster.book._workers["w0"].draining = False
        with pytest.raises(ClusterError):
            await drain(cluster, workers=["w0"], within_s=0.1)
        assert cluster.book.table().workers[0].draining
