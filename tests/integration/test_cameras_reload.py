"""`serve` as a process: SIGHUP, and what outlives a restart."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
import yaml

from tests.integration.processes import ServeProcess, write_config
from tests.stream.viewer_frames import until

pytestmark = pytest.mark.integration

ADMIN = "0123456789abcdef-admin"


def names(server: ServeProcess) -> set[str]:
    """The cameras that there are now."""
    return {camera["name"] for camera in httpx.get(f"{server.address}/api/cameras").json()}


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
