"""A real `serve` whose network is computed by OpenVINO: it answers, and says what computes it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from syncvis_online.runtime import native_precision
from tests.integration.processes import COMMAND, ServeProcess, write_checkpoint, write_config
from tests.soak.stage import poll

pytestmark = pytest.mark.integration


async def test_serve_with_openvino(tmp_path: Path) -> None:
    model = {"name": "default", "threads": 1, "engine": "openvino"}
    precision = native_precision("cpu")
    config = write_config(tmp_path, {"street": "synthetic:3?level=medium&fps=5"}, model=model)
    with ServeProcess(config) as server:
        # It waits with its first answer until OpenVINO can give it.
        assert "OpenVINO is ready for pictures of 320 x 192" in server.errors()
        async with connect(f"ws{server.address[4:]}/api/tracks") as socket:
            while not json.loads(await socket.recv())["tracks"]:
                continue
        async with httpx.AsyncClient(base_url=server.address) as http:
            text = (await http.get("/metrics")).text
            told = (await http.get("/api/model")).json()
        assert f"engine: openvino, cpu, {precision}\n" in server.errors()
        assert (await asyncio.to_thread(server.end))[0] == 0
    computed = {"engine": "openvino", "device": "cpu", "precision": precision}
    assert {"file": "default.safetensors", "note": ""} | computed == {
        key: told[key] for key in ("file", "note", *computed)
    }
    samples = {
        sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["syncvis_engine_info"].labels == computed
    failures = [s for name, s in samples.items() if name == "syncvis_engine_failures_total"]
    assert [s.value for s in failures] == [0.0]


@pytest.mark.parametrize("command", ["serve", "track"])
def test_a_signal_ends_the_first_conversion_which_leaves_nothing_half_written(
    command: str, tmp_path: Path
) -> None:
    checkpoint, kept = str(write_checkpoint(tmp_path)), tmp_path / "cache/syncvis-online/openvino"
    model = {"name": checkpoint, "threads": 1, "engine": "openvino"}
    arguments = {
        "serve": ["serve", str(write_config(tmp_path, {"street": "synthetic:3"}, model=model))],
        "track": ["track", "synthetic:3", "--model", checkpoint, "--engine", "openvino"],
    }
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(
        [*COMMAND, *arguments[command]],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        async def is_writing() -> bool:
            assert process.poll() is None
            return any(kept.glob("*.draft"))

        asyncio.run(poll(is_writing, "it is being converted"))
        children = psutil.Process(process.pid).children()
        (converts,) = [each for each in children if "syncvis_online.openvino.convert" in each.cmdline()]
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate()
    assert process.returncode == {"serve": 0, "track": 130}[command], errors
    assert not converts.is_running()
    assert {each.suffix for each in kept.iterdir()} == {".lock"}, (
        "no draft, and nothing that came after the signal"
    )
    assert said == ""
    assert "Traceback" not in errors
