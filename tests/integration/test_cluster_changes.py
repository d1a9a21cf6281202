"""A real Ray cluster of three nodes that is changed while it runs, by commands and signals as a person has them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from stream.metrics import package_version
from tests.cluster.trials import ADMIN, Trials, fullest
from tests.cluster.watch import watching
from tests.integration.processes import COMMAND, ServeProcess, write_config
from tests.integration.test_cameras_reload import rewrite
from tests.stream.cluster.test_tls import tls_of
from tests.stream.viewer_frames import until
from tests.support.ray_cluster import RayCluster, environment

pytestmark = pytest.mark.integration

URL = "synthetic:3?fps=5&size=160x96"


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves the pipes of the nodes that it starts
async def test_what_is_changed_while_it_runs(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        {"door": URL, "yard": URL},
        server={"port": 0, "admin_tokens": [ADMIN]},
        cluster={"tls": tls_of(tmp_path)},
    )
    with RayCluster(nodes=2) as cluster, ServeProcess(config, "--cluster", cluster.address) as gateway:
        async with watching(gateway.address) as watch:
            trials = Trials(cluster, gateway.address, watch, frozenset({"door", "yard"}))
            state = await trials.until_well(workers=2)
            assert all(each["address"].startswith("https://") for each in state["workers"])
            await read_again(trials, gateway, config)
            await another_version(trials, tmp_path)
            await drained(trials, fullest(state)["worker"])
            assert watch.wrong() == 0
        assert gateway.end()[0] == 0


async def read_again(trials: Trials, gateway: ServeProcess, config: Path) -> None:
    """At SIGHUP cameras are as the file says; one that wants other workers changes nothing, cameras neither."""
    rewrite(config, cameras={"door": {"url": URL}, "yard": {"url": URL}, "gate": {"url": URL}})
    os.kill(gateway.pid, signal.SIGHUP)
    trials.cameras |= {"gate"}
    await trials.until_well(workers=2)
    rewrite(config, cameras={"door": {"url": URL}}, pipeline={"stride": 2})
    os.kill(gateway.pid, signal.SIGHUP)
    await until(
        lambda: "nothing has changed: the cluster was started with another pipeline" in gateway.errors()
    )
    assert (await trials.state())["cameras"].keys() == {"door", "yard", "gate"}


async def another_version(trials: Trials, folder: Path) -> None:
    """A node with another version of the package gets no worker, and that is told; cameras go on where they were."""
    package = folder / "syncvis_online-9.9.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: syncvis-online\nVersion: 9.9\n")
    before = {name: owner["epoch"] for name, owner in (await trials.state())["cameras"].items()}
    with environment({"PYTHONPATH": f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}"}):
        node = trials.cluster.add_node()  # Ray wants the main thread
    said = f"the cluster runs version {package_version()}, and this is 9.9: update this machine"
    async with asyncio.timeout(60):
        while not any(said in problem for problem in (await trials.state())["problems"]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # polled, as from outside
    state = await trials.until_well(workers=2)
    assert len(state["workers"]) == 2
    assert {name: owner["epoch"] for name, owner in state["cameras"].items()} == before
    await asyncio.to_thread(trials.cluster.kill, node)


async def drained(trials: Trials, worker: str) -> None:
    """A worker is drained by the command, with no result lost to order, and stays so when the controller dies; the last
    one cannot be; the head has none.
    """
    code, text = await drain(trials, "no-such-worker")
    assert (code, "no worker no-such-worker: there is worker-" in text) == (2, True), text
    code, text = await drain(trials, worker)
    assert (code, f"drained: {worker}, of " in text) == (0, True), text
    state = await trials.state()
    assert [each["cameras"] for each in state["workers"] if each["worker"] == worker] == [0]
    state = await trials.until_well(workers=2)
    await trials.kill_controller()
    state = await trials.until_well(workers=2)
    assert [each["worker"] for each in state["workers"] if each["draining"]] == [worker]
    (other,) = (each["worker"] for each in state["workers"] if each["worker"] != worker)
    assert {owner["worker"] for owner in state["cameras"].values()} == {other}
    code, text = await drain(trials, other, "--within", "1")
    assert (code, "no other worker takes any" in text) == (1, True), text
    code, text = await drain(trials)  # of the head's node, which is this machine's first
    assert (code, "this node has no worker" in text) == (0, True), text


async def drain(trials: Trials, *arguments: str) -> tuple[int, str]:
    """The exit code of `drain`, and all that it said."""
    command = [*COMMAND, "drain", "--cluster", trials.cluster.address, *arguments]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=100
    )
    return ended.returncode, f"{ended.stdout}{ended.stderr}"
