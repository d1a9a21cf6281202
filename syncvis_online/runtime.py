"""Which library computes the network: one interface for what costs the time, encoding frames and decoding windows.

Owns the choice. All else of a tracker (queries that are carried, slots, identities, masks) is the same with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from torch import Tensor

from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS

EngineName = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What computes, where and how exactly: "torch" or "openvino"; "cpu" or "cuda"; "float32" and the like; `why` it
    was taken, where something speaks against another.
    """

    engine: str
    device: str
    precision: str
    why: str = ""

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

    def __init__(self, model: SyncVIS, why: str = "") -> None:
        self._model = model
        self._why = why

    @property
    def info(self) -> RuntimeInfo:
        """By the model's own parameters."""
        weight = self._model.propagate.weight
        precision = str(weight.dtype).removeprefix("torch.")
        return RuntimeInfo("torch", weight.device.type, precision, self._why)

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) -> their features (B, ...)."""
        return self._model.decoder.project(self._model.encode(prepared))

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> what every layer says, and v after the windows."""
        return self._model.decode(features, queries)


def open_runtime(
    engine: str, model: SyncVIS, checkpoint: Path, device: str, tracker: TrackerConfig
) -> Runtime:
    """The runtime for a model that was loaded from `checkpoint` and folded, on "cpu" or "cuda"; windows by `tracker`.

    "auto" is OpenVINO on a processor where it is installed and can do the model, else torch; its `info` says why.
    Raises ConfigError where OpenVINO is asked for and is not there or not for this device, ModelError where it cannot
    do the model.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"unknown engine '{engine}' (there are: {', '.join(get_args(EngineName))})")
    from syncvis_online.openvino.runtime import OpenVINORuntime, obstacle

    if engine == "torch":
        return TorchRuntime(model)
    reason = obstacle(model.config, device)
    if reason is None:
        runtime = OpenVINORuntime(model, checkpoint, tracker.window_frames)
        if engine == "openvino":
            runtime.prepare(model.input_size(9, 16, tracker.short_side))
        return runtime
    if engine == "openvino":
        raise ConfigError(f"engine 'openvino': {reason}")
    return TorchRuntime(model, f"not openvino: {reason}")
