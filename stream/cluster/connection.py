"""A cluster as somebody outside of its actors reaches it: found, started where it is not there, asked, stopped.

Owns what is said where that fails: one line that names what and where.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from stream.camera_store import settings_of
from stream.cluster.controller import Controller
from stream.cluster.crew import PREFIX
from stream.cluster.gateway.directory import AwayError
from stream.cluster.messages import Settings, Table
from stream.cluster.spec import Spec, unpacked
from stream.cluster.worker import CONTROLLER, Worker, answer_of
from stream.config import ServeConfig
from stream.errors import ConfigError, ModelError
from stream.tokens import make_token

_log = logging.getLogger(__name__)

NAMESPACE = "syncvis-online"
HEAD = "node:__internal_head__"
"""A resource that Ray gives the head: the controller lives and dies with the control store, whose fate is its own, and
not with a worker: with both would be gone what is known of its cameras' tracks.
"""
REACH_S = 3.0
STARTED_WITHIN_S = 90.0
ANSWERED_WITHIN_S = 5.0
LOST_S = 15.0
"""Longer than Ray needs to start a controller's process again, even on a busy machine."""


def connect(address: str) -> None:
    """Join the Ray cluster at HOST:PORT, or this machine's ("auto"). Raises ConfigError."""
    if address != "auto":
        _check_reachable(address)
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise ConfigError(
            f"--cluster: there is no Ray cluster {where}; `ray start --head` starts one"
        ) from None
    except RuntimeError as error:
        if "ersion mismatch" in str(error):
            said = " ".join(str(error).split())
            raise ConfigError(
                f"--cluster {address}: Ray or Python is of another version there: {said}"
            ) from None
        raise


def _check_reachable(address: str) -> None:
    """Ray itself would try for a minute, and for ever where only one side speaks TLS."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--cluster: HOST:PORT or auto, not '{address}'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise ConfigError(f"--cluster: there is no Ray cluster at {address} ({reason})") from None
    ours, theirs = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"), _speaks_tls(host, int(port))
    if theirs and not ours:
        raise ConfigError(
            f"--cluster: the Ray cluster at {address} speaks TLS: RAY_USE_TLS=1 is not set here"
        )
    if ours and not theirs:
        raise ConfigError(f"--cluster: RAY_USE_TLS is set here, and the Ray cluster at {address} has no TLS")


def _speaks_tls(host: str, port: int) -> bool:
    """Whether who listens there answers a TLS handshake, be it that it wants a certificate of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # looks, and believes nothing of it
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])  # as gRPC wants it
    try:
        with socket.create_connection((host.strip("[]"), port), REACH_S) as line, context.wrap_socket(line):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


class RayControl:
    """See `Control`: the controller's actor, which is the same one when its process is another. It is looked up by its
    name only where it has to be: while the control store is away, that stops this whole process.

    Owns this process's line to Ray at `address`. A process whose own node has died is never told by Ray that the
    control store is another one, and asks actors where they were for ever: after `LOST_S` without an answer it joins
    anew.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._heard_s = time.monotonic()
        self._joining: asyncio.Task[None] | None = None
        self._controller: Any = None

    async def table(self, version: int, wait_s: float) -> Table:
        """See `Control`."""
        table: Table = await self._asked("table", version, wait_s)
        return table

    async def cameras(self) -> Mapping[str, Settings]:
        """See `Control`."""
        cameras: Mapping[str, Settings] = await self._asked("cameras")
        return cameras

    async def add(self, camera: str, settings: Settings, most: int) -> str:
        """See `Control`."""
        return str(await self._asked("add", camera, settings, most))

    async def change(self, camera: str, settings: Settings) -> bool:
        """See `Control`."""
        return bool(await self._asked("change", camera, settings))

    async def reload(self, before: Mapping[str, Settings], now: Mapping[str, Settings]) -> list[str]:
        """See `Control`."""
        return list(await self._asked("reload", before, now))

    async def remove(self, camera: str) -> bool:
        """See `Control`."""
        return bool(await self._asked("remove", camera))

    async def drain(self, worker: str) -> bool:
        """See `Control`."""
        return bool(await self._asked("drain", worker))

    async def _asked(self, what: str, *arguments: Any) -> Any:
        try:
            if self._joining is not None and not self._joining.done():
                raise TimeoutError("this process joins the Ray cluster anew")
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                if self._controller is None:
                    self._controller = await asyncio.to_thread(ray.get_actor, CONTROLLER)
                answer = await answer_of(getattr(self._controller, what).remote(*arguments))
        except (RayError, ValueError, TimeoutError) as error:
            if isinstance(error, ActorDiedError):
                self._controller = None
            if time.monotonic() - self._heard_s > LOST_S:
                self._heard_s = time.monotonic()
                self._controller = None
                self._joining = asyncio.create_task(asyncio.to_thread(self._join_anew), name="join Ray anew")
            raise AwayError(str(error).partition("\n")[0] or "no answer in time") from None
        self._heard_s = time.monotonic()
        return answer

    def _join_anew(self) -> None:
        ray.shutdown()
        try:
            connect(self._address)
        except (ConfigError, RayError, RuntimeError, OSError) as error:
            _log.warning("%s", str(error).partition("\n")[0])
        else:
            _log.warning("joined the Ray cluster anew: the controller had not answered for %g s", LOST_S)


async def start(config: ServeConfig, control: RayControl, worker: type[Worker] = Worker) -> Spec:
    """Have the cluster run this config's workers and cameras; what it runs. `worker`: what runs on its nodes. Raises
    ConfigError where it runs another version or another config, or has no room for a worker; ModelError where no worker
    can load the model.
    """
    actor = ray.remote(Controller).options(
        name=CONTROLLER,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        resources={HEAD: 0.001},
    )
    cameras = {name: settings_of(each) for name, each in config.cameras.items()}
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            controller = actor.remote(Spec(config, make_token()).packed(), worker)
            spec = unpacked(await answer_of(controller.join.remote()))
            spec.check(config)
            await answer_of(controller.ensure.remote(cameras))
    except (RayError, TimeoutError) as error:
        reason = str(error).strip().rpartition("\n")[2] or f"no answer within {STARTED_WITHIN_S:g} s"
        raise ConfigError(f"the cluster's controller does not start: {reason}") from None
    await _until_worker(control)
    return spec


async def _until_worker(control: RayControl) -> None:
    """Wait for the first worker, or for why there is none."""
    until_s = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < until_s:
        try:
            table = await control.table(-2, 0.2)
        except AwayError:  # it is started again
            table = Table(-1, {})
        if table.workers:
            return
        if table.problems:
            kind = ModelError if any("ModelError" in problem for problem in table.problems) else ConfigError
            raise kind(f"the cluster has no worker: {'; '.join(table.problems)}")
        await asyncio.sleep(0.2)
    raise ConfigError(f"the cluster has no worker after {STARTED_WITHIN_S:g} s")


def stop() -> int:
    """End the controller and all workers; how many actors that were. What is stored of cameras stays."""
    names = [
        name for name in ray.util.list_named_actors() if name == CONTROLLER or name.startswith(f"{PREFIX}-")
    ]
    for name in sorted(names):  # the controller first: it would start workers again
        ray.kill(ray.get_actor(name))
    return len(names)
