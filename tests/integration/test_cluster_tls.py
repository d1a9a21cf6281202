"""A real Ray cluster whose own lines speak TLS, started by commands as docs/scale.md has it, and who is not let in."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.processes import COMMAND, ServeProcess, write_config
from tests.integration.test_prometheus import until
from tests.stream.cluster.test_tls import tls_of
from tests.support.ray_cluster import MEMORY_BYTES, SETTINGS, environment, free_port

pytestmark = pytest.mark.integration

STARTED = "Ray runtime started."


@contextmanager
def head() -> Iterator[str]:
    """`ray start --head`, with room for a worker; its address."""
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    options = {
        "node-ip-address": "127.0.0.1",
        "port": address.partition(":")[2],
        "num-cpus": "1",
        "object-store-memory": str(MEMORY_BYTES),
        "include-dashboard": "false",
        "temp-dir": tempfile.mkdtemp(prefix="ray", dir="/tmp"),  # sockets' paths must be short
    }
    with subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        + [f"--{name}={value}" for name, value in options.items()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            said: list[str] = []
            while STARTED not in "".join(said[-1:]):
                said.append(process.stdout.readline())
                assert said[-1], "".join(said)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.timeout(240)
def test_a_cluster_whose_own_lines_speak_tls_lets_nobody_else_in(tmp_path: Path) -> None:
    files = tls_of(tmp_path)
    tls = {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": files["certificate"],
        "RAY_TLS_SERVER_KEY": files["key"],
        "RAY_TLS_CA_CERT": files["ca"],
    }
    config = write_config(
        tmp_path, {"door": "synthetic:3?fps=5&size=160x96"}, server={"port": 0}, cluster={"tls": files}
    )
    with (
        environment({**SETTINGS, **tls}),
        head() as address,
        ServeProcess(config, "--cluster", address) as gateway,
    ):
        host, port = address.split(":")
        assert ssl.get_server_certificate((host, int(port))) == Path(files["certificate"]).read_text()
        until(lambda: (httpx.get(f"{gateway.address}/api/cluster").json()["cameras"]["door"] or {}).get("up"))
        with environment({"RAY_USE_TLS": "0"}):
            command = [*COMMAND, "drain", "--cluster", address]
            stranger = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert stranger.returncode == 2
        assert f"the Ray cluster at {address} speaks TLS: RAY_USE_TLS=1 is not set here" in stranger.stderr
        assert gateway.end()[0] == 0
