"""A Ray cluster whose nodes come and go as Ray's autoscaler has it, on loopback: `ray start --head` with its monitor,
and a provider of nodes that are processes of this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any, Self

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

from tests.support.ray_cluster import MEMORY_BYTES, REPOSITORY, SETTINGS, environment, free_port

IP = "127.0.0.1"


class LocalNodes(FakeMultiNodeProvider):
    """Ray's own provider of nodes that are processes, with names as nodes have them: its own begin all with 51 times
    "f".
    """

    def _next_hex_node_id(self) -> str:
        return secrets.token_hex(28)


class AutoscaledRay:
    """`with AutoscaledRay(most=2) as cluster: ... cluster.address`. It begins with its head alone, which has no
    processors; nodes have one each. One that is idle for `idle_s` is taken away.
    """

    def __init__(self, most: int = 2, idle_s: float = 5.0) -> None:
        self._port = free_port(IP)
        self._config: dict[str, Any] = {
            "cluster_name": "test",
            "max_workers": most,
            "idle_timeout_minutes": idle_s / 60.0,
            "upscaling_speed": 1.0,
            "provider": {
                "type": "external",
                "module": f"{__name__}.{LocalNodes.__name__}",
                "gcs_address": self.address,
                "launch_multiple": True,
            },
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "node": {
                    "resources": {"CPU": 1, "object_store_memory": MEMORY_BYTES},
                    "node_config": {},
                    "min_workers": 0,
                    "max_workers": most,
                },
            },
            "head_node_type": "ray.head.default",
            # Ray wants them to be there; a provider of processes has no use for any.
            **{
                f"{which}_commands": [] for which in ("initialization", "setup", "head_setup", "worker_setup")
            },
            **{f"{which}_start_ray_commands": [] for which in ("head", "worker")},
            **{key: {} for key in ("auth", "docker", "file_mounts")},
            **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        }

    @property
    def address(self) -> str:
        """HOST:PORT of its control store."""
        return f"{IP}:{self._port}"

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets' paths must be short
        os.makedirs("/tmp/ray", exist_ok=True)  # where Ray writes down the newest cluster of this machine
        config = os.path.join(self._folder, "autoscaling.json")
        with open(config, "w") as file:
            json.dump(self._config, file)
        path = os.pathsep.join(filter(None, (REPOSITORY, os.environ.get("PYTHONPATH"))))
        self._environment = environment(SETTINGS | {"PYTHONPATH": path})
        self._environment.__enter__()
        wanted = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        }
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--autoscaling-config={config}", f"--node-ip-address={IP}", f"--port={self._port}"),
            *("--num-cpus=0", f"--object-store-memory={MEMORY_BYTES}", "--include-dashboard=false"),
            f"--temp-dir={self._folder}",
        ]
        self.log = os.path.join(self._folder, "head.log")
        with open(self.log, "w") as log:
            self._head = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | wanted,
            )
        while not _listens(self._port):
            assert self._head.poll() is None, self.said()
            time.sleep(0.05)
        return self

    def said(self) -> str:
        """What the head's command printed."""
        with open(self.log) as log:
            return log.read()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of its processes, and those alone: `ray stop` would end every Ray of this machine."""
        all_of_it = psutil.Process(self._head.pid).children(recursive=True)
        os.killpg(self._head.pid, signal.SIGKILL)
        for process in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(all_of_it, timeout=30)
        self._head.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._environment.__exit__(None, None, None)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((IP, port)) == 0
