"""A real Ray cluster on loopback: a head without a worker's room, and nodes with room for one each.

Owns its processes; ends those and no others. The settings that a failover within 5 s needs are those of docs/scale.md.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from tests.support.cut_off_host import CutOffHost
from tests.support.redis_server import PASSWORD, RedisServer

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "2",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "OMP_NUM_THREADS": "1",
}
MEMORY_BYTES = 80 * 2**20


class RayCluster:
    """`with RayCluster(nodes=2) as cluster: ... cluster.address`. `redis`: where the control store keeps what it
    knows; without, in its head's memory. `apart`: one node more, on that machine.
    """

    def __init__(
        self, nodes: int = 2, *, redis: RedisServer | None = None, apart: CutOffHost | None = None
    ) -> None:
        self._count, self._redis, self._apart = nodes, redis, apart
        self._ip = "127.0.0.1" if apart is None else apart.other
        self._far: subprocess.Popen[bytes] | None = None
        self.nodes: list[Any] = []
        self._head: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, (REPOSITORY, os.environ.get("PYTHONPATH"))))
        wanted = {**SETTINGS, "PYTHONPATH": path}
        if self._redis is not None:
            wanted["RAY_REDIS_ADDRESS"] = self._redis.address
        self._environment = environment(wanted)  # nodes are started with the environment of this process
        self._environment.__enter__()
        from ray.cluster_utils import Cluster

        self._folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets' paths must be short
        os.makedirs("/tmp/ray", exist_ok=True)  # where Ray writes down the newest cluster of this machine
        self._cluster = Cluster()
        self._port = free_port(self._ip)
        self._cluster.add_node(**self._head_options())
        for _ in range(self._count):
            self.add_node()
        if self._apart is not None:
            self._far = self._start_apart(self._apart)
        return self

    @property
    def address(self) -> str:
        """HOST:PORT of its control store."""
        return f"{self._ip}:{self._port}"

    def add_node(self) -> Any:
        """One more node, with room for a worker."""
        node = self._add(num_cpus=1)
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """End a node's processes at once, as a power cut does."""
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def kill_head(self) -> None:
        """End the head's processes at once, its control store with them."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def start_head(self) -> None:
        """Another head at the same address; with Redis it knows what the one before knew. No node can be added then."""
        with open(os.path.join(self._folder, "head.log"), "w") as log:  # Ray wants a process's main thread
            self._head = subprocess.Popen(
                [sys.executable, "-m", "tests.support.ray_cluster", json.dumps(self._head_options())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def _start_apart(self, host: CutOffHost) -> subprocess.Popen[bytes]:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={self.address}", "--block"]
        room = [
            f"--node-ip-address={host.address}",
            "--num-cpus=1",
            f"--object-store-memory={MEMORY_BYTES}",
        ]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # With the other tests' "0", which keeps a cluster on loopback, Ray refuses to join one.
        environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        return subprocess.Popen(host.command(*ray, *room), start_new_session=True, env=environment, **quiet)

    def _head_options(self) -> dict[str, Any]:
        password = {} if self._redis is None else {"redis_password": PASSWORD}
        return self._options() | {"num_cpus": 0, "gcs_server_port": self._port, **password}

    def _options(self) -> dict[str, Any]:
        return {
            "node_ip_address": self._ip,
            "object_store_memory": MEMORY_BYTES,
            "include_dashboard": False,
            "no_monitor": True,  # of Ray's autoscaler
            "include_log_monitor": False,
            "temp_dir": self._folder,
        }

    def _add(self, **resources: Any) -> Any:
        return self._cluster.add_node(**(self._options() | resources))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (
            self._far is not None
        ):  # `ray start --block` waits for a head that is gone: all of its session is ended
            os.killpg(self._far.pid, signal.SIGKILL)
            self._far.wait()
        self._cluster.shutdown()
        if self._head is not None:
            self._head.communicate()
        self._environment.__exit__(None, None, None)


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, and of what it starts, with these while inside."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def free_port(ip: str) -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as free:
        free.bind((ip, 0))
        return int(free.getsockname()[1])


def _be_head(options: dict[str, Any]) -> None:
    """Run a head until standard input ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(**options)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    _be_head(json.loads(sys.argv[1]))
