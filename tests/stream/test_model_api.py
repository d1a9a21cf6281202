"""What a server says of its model."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import torch

from stream.app import Service
from stream.config import ServeConfig, parse_config
from stream.engine import load_engine
from stream.server import create_app
from syncvis_online.checkpoint import save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.model import SyncVIS
from tests.stream.frames import SquareEngine
from tests.syncvis_online.models import TINY


@pytest.fixture
def config() -> ServeConfig:
    return parse_config({"cameras": {"door": {"url": "synthetic:1"}}, "pipeline": {"stride": 2}}, "a test")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "secret-place").mkdir()
    path = tmp_path / "secret-place" / "street-2.safetensors"
    save_model(path, SyncVIS(TINY), TrackerConfig(window_frames=3), {})
    return path


async def model_of(service: Service) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        return await http.get("/api/model")


async def test_its_file_and_what_computes_it_and_no_path(checkpoint: Path, config: ServeConfig) -> None:
    service = Service(
        config, load_engine(str(checkpoint), device="cpu", engine="torch", precision="float32", threads=1)
    )
    answer = await model_of(service)
    assert answer.json() == {
        "file": "street-2.safetensors",
        "engine": "torch",
        "device": "cpu",
        "precision": "float32",
        "note": "",
        "labels": list(TINY.labels),
        "window_frames": 3,
        "stride": 2,
    }
    assert "secret-place" not in answer.text


async def test_why_it_is_not_another_engine(
    checkpoint: Path, config: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncvis_online.openvino.runtime.openvino_version", lambda: None)
    service = Service(config, load_engine(str(checkpoint), device="cpu", engine="auto", threads=1))
    assert "the extra is not installed" in (await model_of(service)).json()["note"]


async def test_a_lower_precision_is_told(checkpoint: Path, config: ServeConfig) -> None:
    engine = load_engine(str(checkpoint), device="cpu", engine="auto", precision="float16", threads=1)
    told = (await model_of(Service(config, engine))).json()
    assert (told["engine"], told["precision"]) == ("torch", "float16")


async def test_an_engine_that_says_nothing_of_itself(config: ServeConfig) -> None:
    told = (await model_of(Service(config, SquareEngine()))).json()
    assert (told["file"], told["engine"], told["labels"]) == ("", "", ["dog"])
