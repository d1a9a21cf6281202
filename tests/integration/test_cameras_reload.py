"""`serve` as a process: SIGHUP, and what outlives a restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect

from tests.integration.processes import ServeProcess, write_checkpoint, write_config
from tests.stream.viewer_frames import until

pytestmark = pytest.mark.integration

ADMIN = "0123456789abcdef-admin"


def report(server: ServeProcess) -> dict[str, dict[str, Any]]:
    """The cameras that there are now, by name."""
    return {camera["name"]: camera for camera in httpx.get(f"{server.address}/api/cameras").json()}


def names(server: ServeProcess) -> set[str]:
    """Only their names."""
    return set(report(server))


def add(server: ServeProcess, name: str, url: str) -> httpx.Response:
    """Add a camera."""
    admin = {"Authorization": f"Bearer {ADMIN}"}
    return httpx.post(f"{server.address}/api/cameras", json={"name": name, "url": url}, headers=admin)


def rewrite(config: Path, **changes: object) -> None:
    """Another config under the same name."""
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | changes), encoding="utf-8")


@pytest.mark.timeout(120)
async def test_the_config_is_read_again_and_changes_outlive_the_process(tmp_path: Path) -> None:
    url = "synthetic:3?fps=5&size=160x96"
    config = write_config(
        tmp_path, {"a": url, "b": url}, server={"port": 0, "admin_tokens": [ADMIN]}, persist_cameras=True
    )
    with ServeProcess(config) as server:
        added = add(server, "mine", url)
        assert added.status_code == 201
        rewrite(config, cameras={"b": {"url": url}, "c": {"url": url}}, log={"level": "debug"})
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: names(server) == {"b", "c", "mine"})
        await until(lambda: "needs a restart: log.level" in server.errors())
        whole = config.read_text()
        config.write_text("cameras: [")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "nothing has changed" in server.errors())
        assert names(server) == {"b", "c", "mine"}
        config.write_text(whole)
        assert (await asyncio.to_thread(server.end))[0] == 0
    with ServeProcess(config) as server:
        assert names(server) == {"b", "c", "mine"}


async def ids_of_next(socket: ClientConnection) -> set[int]:
    """The track ids of the next frame that has any."""
    while True:
        message: dict[str, Any] = json.loads(await socket.recv())
        if message.get("tracks"):
            return {track["id"] for track in message["tracks"]}


@pytest.mark.timeout(120)
async def test_the_model_is_loaded_again_while_cameras_and_subscribers_stay(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"a": "synthetic:3?fps=5&size=160x96"})
    weights = tmp_path / "tiny.safetensors"
    with ServeProcess(config) as server:
        url = f"{server.address}/api/cameras/a/tracks".replace("http", "ws", 1)
        async with connect(url) as socket:
            before = await ids_of_next(socket)

            def sighup() -> None:
                os.kill(server.pid, signal.SIGHUP)

            def times(what: str) -> int:
                return server.errors().count(what)

            other = tmp_path / "other"
            other.mkdir()
            write_checkpoint(other).replace(weights)
            sighup()
            await until(lambda: times("the model was loaded again") == 1)
            rewrite(config, tracker={"keep_score": 0.001})
            sighup()
            await until(lambda: times("the model was loaded again") == 2)
            while not min(after := await ids_of_next(socket)) > max(before):
                assert after  # of a frame that was answered before
            weights.write_bytes(weights.read_bytes()[:5000])
            sighup()
            await until(lambda: times("the model was not loaded again, the one before goes on") == 1)
            write_checkpoint(other).replace(weights)
            rewrite(config, tracker={"window_frames": 3})
            sighup()
            await until(lambda: times("a model that differs in window_frames needs a restart") == 1)
            await until(lambda: times("needs a restart: tracker") == 1)  # a line of its own, right after it
            rewrite(config, tracker={"keep_score": 0.001})
            sighup()
            await until(lambda: times("the model was loaded again") == 3)
            assert await ids_of_next(socket)
            camera = report(server)["a"]
            assert camera["up"]
            assert camera["reconnects"] == 0
