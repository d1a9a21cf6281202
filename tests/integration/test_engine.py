"""A real `serve` whose network is computed by OpenVINO: it answers, and says what computes it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from tests.integration.processes import ServeProcess, write_config

pytestmark = pytest.mark.integration


async def test_serve_with_openvino(tmp_path: Path) -> None:
    model = {"name": "default", "threads": 1, "engine": "openvino"}
    config = write_config(tmp_path, {"street": "synthetic:3?level=medium&fps=5"}, model=model)
    with ServeProcess(config) as server:
        # It waits with its first answer until OpenVINO can give it.
        assert "OpenVINO is ready for pictures of 320 x 192" in server.errors()
        async with connect(f"ws{server.address[4:]}/api/tracks") as socket:
            while not json.loads(await socket.recv())["tracks"]:
                continue
        async with httpx.AsyncClient(base_url=server.address) as http:
            text = (await http.get("/metrics")).text
        assert "engine: openvino, cpu, float32\n" in server.errors()
        assert (await asyncio.to_thread(server.end))[0] == 0
    samples = {
        sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["syncvis_engine_info"].labels == {
        "engine": "openvino",
        "device": "cpu",
        "precision": "float32",
    }
    failures = [s for name, s in samples.items() if name == "syncvis_engine_failures_total"]
    assert [s.value for s in failures] == [0.0]
