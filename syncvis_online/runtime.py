"""Which library computes the network: one interface for what costs the time, encoding frames and decoding windows.

Owns the choice. All else of a tracker (queries that are carried, slots, identities, masks) is the same with each.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from torch import Tensor

from syncvis_online.decoder import DecoderOutput
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS

_log = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What computes, where and how exactly: "torch" or "openvino"; "cpu" or "cuda"; "float32" and the like."""

    engine: str
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine}, {self.device}, {self.precision}"


class Runtime(Protocol):
    """The two heavy steps of a tracker. Not safe to call from two threads at once."""

    @property
    def info(self) -> RuntimeInfo:
        """What it is."""
        ...

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) uint8 -> their features (B, ...), projected for the decoder."""
        ...

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> at least the last layer's video branch, and v after the windows."""
        ...


class TorchRuntime:
    """The model as it is, in PyTorch: any model, any device. What the others must agree with."""

    def __init__(self, model: SyncVIS) -> None:
        self._model = model

    @property
    def info(self) -> RuntimeInfo:
        """By the model's own parameters."""
        weight = self._model.propagate.weight
        return RuntimeInfo("torch", weight.device.type, str(weight.dtype).removeprefix("torch."))

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) -> their features (B, ...)."""
        return self._model.decoder.project(self._model.encode(prepared))

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> what every layer's video branch says, and v after the windows."""
        return self._model.decode(features, queries, answer_only=True)


def open_runtime(engine: str, model: SyncVIS, checkpoint: Path, device: str, frames: int) -> Runtime:
    """The runtime for a model that was loaded from `checkpoint` and folded, on "cpu" or "cuda"; windows of `frames`.

    "auto" is OpenVINO on a processor where it is installed and can do the model, else torch; which, and why, is logged.
    Raises ConfigError where OpenVINO is asked for and is not there or not for this device, ModelError where it cannot
    do the model.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"unknown engine '{engine}' (there are: {', '.join(get_args(EngineName))})")
    from syncvis_online.openvino.runtime import OpenVINORuntime, obstacle

    torch_runtime = TorchRuntime(model)
    if engine == "torch":
        _log.info("engine: %s, as asked for", torch_runtime.info)
        return torch_runtime
    reason = obstacle(model.config, device)
    if reason is None:
        runtime = OpenVINORuntime(model, checkpoint, frames)
        _log.info("engine: %s", runtime.info)
        if engine == "openvino":
            runtime.prepare(model.input_size(9, 16))
        return runtime
    if engine == "openvino":
        raise ConfigError(f"engine 'openvino': {reason}")
    _log.info("engine: %s, since for OpenVINO %s", torch_runtime.info, reason)
    return torch_runtime
