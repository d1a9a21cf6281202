"""Checkpoints: what is saved is what is loaded, and every damaged file is refused with one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from syncvis_online.checkpoint import FORMAT, initialize_model, load_model, save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.errors import ModelError
from syncvis_online.model import SyncVIS
from tests.syncvis_online.models import TINY, tiny_model

TRACKER = TrackerConfig(window_frames=3, max_lost_s=4.0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, tiny_model().float(), TRACKER, {"seed": 1})
    return path


def header(**changes: str) -> dict[str, str]:
    values = {"format": FORMAT, "model": json.dumps(TINY.to_mapping()), "tracker": "{}", "provenance": "{}"}
    return {**values, **changes}


def test_round_trip(saved: Path) -> None:
    checkpoint = load_model(str(saved))
    wanted = tiny_model().float().state_dict()
    assert checkpoint.tracker == TRACKER
    assert checkpoint.model.config == TINY
    assert checkpoint.provenance == {"seed": 1}
    assert not checkpoint.model.training
    for name, tensor in checkpoint.model.state_dict().items():
        assert tensor.dtype == wanted[name].dtype
        torch.testing.assert_close(tensor, wanted[name], rtol=2e-3, atol=1e-4)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name], "no temporary file is left"


def test_a_truncated_file_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    for size in (0, 7, 100, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:size])
        with pytest.raises(ModelError, match="not a readable safetensors file") as error:
            load_model(str(saved))
        assert str(saved) in str(error.value)


def test_wrong_shape_missing_and_unknown_tensors_are_named(saved: Path) -> None:
    tensors = load_file(saved)
    name = "decoder.class_head.weight"
    save_file({**tensors, name: torch.zeros(3, 3)}, saved, header())
    with pytest.raises(ModelError, match=r"class_head.weight is \(3, 3\), not \(7, 16\)"):
        load_model(str(saved))
    save_file({k: v for k, v in tensors.items() if k != name}, saved, header())
    with pytest.raises(ModelError, match=r"1 tensors missing .*class_head.weight"):
        load_model(str(saved))
    save_file({**tensors, "extra": torch.zeros(1)}, saved, header())
    with pytest.raises(ModelError, match=r"1 unknown .*extra"):
        load_model(str(saved))


def test_values_that_are_not_finite_are_refused(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["decoder.norm.bias"][2] = float("nan")
    save_file(tensors, saved, header())
    with pytest.raises(ModelError, match=r"decoder.norm.bias holds values that are not finite"):
        load_model(str(saved))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other/1"}, "not a syncvis-online/1 checkpoint"),
        ({"model": "{"}, "no valid 'model'"),
        ({"model": "[1]"}, "'model' in the header is not a mapping"),
        ({"model": '{"quaries": 3}'}, "model: quaries: unknown key"),
        ({"model": '{"channels": 128.0}'}, "model: channels: input should be a valid integer"),
        ({"tracker": '{"stride": true}'}, "tracker: stride: input should be a valid integer"),
        ({"model": '{"queries": 0}'}, "queries must be at least 1"),
        ({"model": '{"backbone": "vgg"}'}, "unknown backbone 'vgg'"),
        ({"tracker": '{"stride": 9}'}, "stride must be in"),
    ],
)
def test_a_wrong_header_is_refused(saved: Path, changes: dict[str, str], message: str) -> None:
    save_file(load_file(saved), saved, header(**changes))
    with pytest.raises(ModelError, match=message) as error:
        load_model(str(saved))
    assert str(saved) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_does_not_exist_lists_those_that_ship() -> None:
    with pytest.raises(ModelError, match=r"no checkpoint 'nothing'.*there are:"):
        load_model("nothing")


def test_a_start_from_another_backbone_is_refused_and_changes_nothing(saved: Path) -> None:
    model = SyncVIS(replace(TINY, backbone_width=2 * TINY.backbone_width))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"has another architecture .*backbone\."):
        initialize_model(model, str(saved))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("labels", [("cat", "horse", "sheep"), ("cat", "horse")])
def test_a_start_with_other_classes_leaves_the_class_head_alone(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    path = tmp_path / "three.safetensors"
    save_model(path, SyncVIS(replace(TINY, labels=("person", "car", "dog"))), TrackerConfig(), {})
    model = SyncVIS(replace(TINY, labels=labels))
    head = model.decoder.class_head.weight.clone()
    unused, left = initialize_model(model, str(path))
    assert unused == left == ["decoder.class_head.bias", "decoder.class_head.weight"]
    assert torch.equal(model.decoder.class_head.weight, head)
