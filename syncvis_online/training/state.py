"""The file that a run goes on from: written all at once, and refused when it belongs to another run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from syncvis_online.errors import ModelError
from syncvis_online.files import replacing
from syncvis_online.training.config import TrainingConfig


def what_decides(config: TrainingConfig) -> dict[str, Any]:
    """What a run's weights depend on, by key, as plain values.

    That is all but the name, the number of steps (a run may be made longer), the tracker and the sample pictures
    (training does not use them), and where, and by how many helpers, data is read.
    """
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    for key in ("name", "steps", "tracker", "picture_steps"):
        del values[key]
    del values["data"]["workers"]
    for source in values["data"]["sources"].values():
        for place in ("cache", "folder", "images"):
            source.pop(place, None)
    return values


def write_state(path: Path, config: TrainingConfig, values: dict[str, Any]) -> None:
    """Write `values` (weights_only types) and what they were made with, all or nothing."""
    with replacing(path) as draft:
        torch.save({"config": json.dumps(what_decides(config)), **values}, draft)


def read_state(path: Path, config: TrainingConfig, device: torch.device) -> dict[str, Any]:
    """The values that `write_state` wrote. Raises ModelError when it is damaged, or of another run."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        made_with = json.loads(state.pop("config"))
    except Exception as error:
        raise ModelError(f"{path}: cannot resume from it ({str(error).splitlines()[0]})") from error
    wanted = what_decides(config)
    changed = sorted(key for key in wanted | made_with if wanted.get(key) != made_with.get(key))
    if changed:
        raise ModelError(
            f"{path}: was made with another {changed[0]} (choose another --output, or remove it)"
        )
    return state
