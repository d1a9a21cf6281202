"""Checkpoints: safetensors with the config, the labels and the provenance in the header. No pickle, ever.

`save_model` writes half precision to a temporary file and renames it; `load_model` checks every key and shape
before anything is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.errors import ConfigError, ModelError
from syncvis_online.files import replacing
from syncvis_online.model import SyncVIS
from syncvis_online.recognition import Recognizer

FORMAT = "syncvis-online/1"
WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Checkpoints that ship; each is known by its file's stem."""
_RECOGNITION = "recognition."
"""Before the names of the tensors of a recognizer."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model ready to run (eval mode, float32, CPU) with what its file says about it."""

    model: SyncVIS
    tracker: TrackerConfig
    provenance: Mapping[str, Any]
    recognizer: Recognizer | None = None
    """Learned evidence of who is who, where it was trained: it belongs to this model's queries."""


def resolve_model(name_or_path: str) -> Path:
    """The file of a checkpoint: a path, or the name of one that ships. Raises ModelError."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = WEIGHTS / f"{name_or_path}.safetensors"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))) or "none"
    raise ModelError(f"no checkpoint '{name_or_path}': not a file, and none that ships (there are: {names})")


def save_model(
    path: Path,
    model: SyncVIS,
    tracker: TrackerConfig,
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
    recognizer: Recognizer | None = None,
) -> None:
    """Write parameters as `dtype` (running statistics as they are), all or nothing."""
    tensors = _tensors(model, dtype)
    if recognizer is not None:
        tensors |= {_RECOGNITION + name: tensor for name, tensor in _tensors(recognizer, dtype).items()}
    header = {
        "format": FORMAT,
        "model": json.dumps(model.config.to_mapping()),
        "tracker": json.dumps(tracker.to_mapping()),
        "provenance": json.dumps(dict(provenance)),
    }
    with replacing(path) as draft:
        save_file(tensors, draft, metadata=header)


def _tensors(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    parameters = {name for name, _ in module.named_parameters()}
    return {
        name: tensor.detach().to("cpu", dtype if name in parameters else tensor.dtype).contiguous()
        for name, tensor in module.state_dict().items()
    }


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from None


def _header(path: Path, header: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        values = json.loads(header[key])
    except (KeyError, json.JSONDecodeError):
        raise ModelError(f"{path}: the header has no valid '{key}'") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path}: '{key}' in the header is not a mapping")
    return values


def _fill(path: Path, module: nn.Module, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
    """Load what begins with `prefix` into a module, which is in eval mode then. Raises ModelError."""
    wanted = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    given = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    _check(path, given, wanted)
    module.load_state_dict(
        {name.removeprefix(prefix): tensor.to(wanted[name].dtype) for name, tensor in given.items()}
    )
    module.eval()


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        raise ModelError(
            f"{path}: does not fit its own config: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ModelError(f"{path}: {name} is {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"{path}: {name} holds values that are not finite")


def load_model(name_or_path: str) -> Checkpoint:
    """Load a checkpoint by path or by the name of one that ships.

    Raises ModelError, naming file and tensor, when it is missing, damaged, of another format, or holds NaN.
    """
    path = resolve_model(name_or_path)
    tensors, header = _read(path)
    if header.get("format") != FORMAT:
        raise ModelError(f"{path}: not a {FORMAT} checkpoint (its header says {header.get('format')!r})")
    try:
        config = ModelConfig.from_mapping(_header(path, header, "model"), "model")
        tracker = TrackerConfig.from_mapping(_header(path, header, "tracker"), "tracker")
        model = SyncVIS(config)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None
    of_model = {name: tensor for name, tensor in tensors.items() if not name.startswith(_RECOGNITION)}
    _fill(path, model, of_model)
    recognizer = None
    if len(of_model) < len(tensors):
        vectors = config.channels + 2 * config.mask_channels
        recognizer = Recognizer(vectors)
        _fill(path, recognizer, tensors, _RECOGNITION)
    return Checkpoint(model.eval(), tracker, _header(path, header, "provenance"), recognizer)


def initialize_model(model: SyncVIS, name_or_path: str) -> tuple[list[str], list[str]]:
    """Copy a checkpoint's tensors into `model` where name and shape fit; the class head only for the same classes.

    Returns the names of the checkpoint's tensors that were not used, and of the model's that were left as they
    were. Raises ModelError as `load_model` does, and when the backbones are different ones: then what little fits
    would not be a start.
    """
    wanted = model.state_dict()
    other = load_model(name_or_path).model
    given = other.state_dict()
    fitting = {k: v for k, v in given.items() if k in wanted and v.shape == wanted[k].shape}
    if other.config.labels != model.config.labels:  # also where they are as many
        fitting = {k: v for k, v in fitting.items() if not k.startswith("decoder.class_head.")}
    homeless = [k for k in wanted if k.startswith("backbone.") and k not in fitting]
    if homeless:
        raise ModelError(
            f"{name_or_path}: has another architecture (backbone {_backbone(other.config)}, here "
            f"{_backbone(model.config)}): {len(homeless)} tensors do not fit, {homeless[0]} the first"
        )
    model.load_state_dict(fitting, strict=False)
    return sorted(given.keys() - fitting.keys()), sorted(wanted.keys() - fitting.keys())


def _backbone(config: ModelConfig) -> str:
    return f"{config.backbone} x {config.backbone_width:g}"


def inspect_checkpoint(name_or_path: str) -> dict[str, Any]:
    """What a checkpoint's file says, as plain values: config, tracker, provenance, size, checksum (SHA-256).

    The whole of it is checked, as `load_model` does. Raises ModelError.
    """
    path = resolve_model(name_or_path)
    checkpoint = load_model(str(path))
    parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": digest,
        "parameters": parameters,
        "recognizer": checkpoint.recognizer is not None,
        "classes": list(checkpoint.model.config.labels),
        "model": checkpoint.model.config.to_mapping(),
        "tracker": checkpoint.tracker.to_mapping(),
        "provenance": dict(checkpoint.provenance),
    }
