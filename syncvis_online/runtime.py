"""Which library computes the network: one interface for what costs the time, encoding frames and decoding windows.

Owns the choice. All else of a tracker (queries that are carried, slots, identities, masks) is the same with each.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal, Protocol, cast, get_args

import torch
from torch import Tensor

from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["float32", "bfloat16", "float16"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = re.compile(r"^flags\s*:.*\b(avx512_bf16|amx_bf16)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What computes, where and how exactly: "torch" or "openvino"; "cpu" or "cuda"; "float32" and the like; `why` it
    was taken, where something speaks against another, or what is not computed by it.
    """

    engine: str
    device: str
    precision: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.engine}, {self.device}, {self.precision}"


class Runtime(Protocol):
    """The two heavy steps of a tracker. Each is called from one thread at a time; both may be at the same time."""

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
    """The model as it is, in PyTorch: any model, any device. In float32 it is what the others must agree with.

    In a lower `precision` matrices are multiplied in it, and what needs more stays in float32 (torch.autocast); so do
    the weights, all that comes out, and on a processor the decoder: a window's matrices are so small that it takes
    longer to round them than is won.
    """

    def __init__(self, model: SyncVIS, precision: Precision = "float32", why: str = "") -> None:
        self._model = model
        self._device = model.propagate.weight.device.type
        self._precision = precision
        self._decodes_in: Precision = "float32" if self._device == "cpu" else precision
        self._why = why

    @property
    def info(self) -> RuntimeInfo:
        """The device is where the model's parameters are."""
        return RuntimeInfo("torch", self._device, self._precision, self._why)

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) -> their features (B, ...)."""
        with self._computing(self._precision):
            features = self._model.decoder.project(self._model.encode(prepared))
        return features if self._precision == "float32" else features.float()

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> what every layer's video branch says, in a lower precision only
        the last one's, and v after the windows.
        """
        with self._computing(self._decodes_in):
            output = self._model.decode(features, queries, answer_only=True)
        if self._decodes_in == "float32":
            return output
        said = output.layers[-1].video
        video = BranchPrediction(said.logits.float(), said.embeds.float())
        return DecoderOutput((LayerPrediction(None, video),), output.video_queries.float())

    def _computing(self, precision: Precision) -> AbstractContextManager[Any]:
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self._device, getattr(torch, precision))


def open_runtime(
    engine: str,
    model: SyncVIS,
    checkpoint: Path,
    device: str,
    tracker: TrackerConfig,
    precision: str = "float32",
    ending: Event | None = None,
) -> Runtime:
    """The runtime for a model that was loaded from `checkpoint` and folded, on "cpu" or "cuda"; windows by `tracker`.

    "auto" is OpenVINO on a processor where it is installed and can do the model, else torch; its `info` says why.
    `precision` "auto" is `native_precision`; OpenVINO knows float32, and bfloat16 where that is native. Raises
    ConfigError where OpenVINO is asked for and is not there or not for this device or precision, ModelError where it
    cannot do the model. `ending`: set it, in another thread, and this returns at once where OpenVINO is waited for;
    what it returns is of no use then.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"unknown engine '{engine}' (there are: {', '.join(get_args(EngineName))})")
    if precision not in get_args(PrecisionName):
        raise ConfigError(
            f"unknown precision '{precision}' (there are: {', '.join(get_args(PrecisionName))})"
        )
    from syncvis_online.openvino.runtime import OpenVINORuntime, obstacle

    wanted = native_precision(device) if precision == "auto" else cast(Precision, precision)
    if engine == "torch":
        return torch_runtime(model, device, wanted)
    reason = obstacle(model.config, device, wanted)
    if reason is None:
        runtime = OpenVINORuntime(model, checkpoint, tracker.window_frames, ending=ending, precision=wanted)
        if engine == "openvino":
            runtime.prepare(model.input_size(9, 16, tracker.short_side))
        return runtime
    if engine == "openvino":
        raise ConfigError(f"engine 'openvino': {reason}")
    return torch_runtime(model, device, wanted, f"not openvino: {reason}")


def native_precision(device: str) -> Precision:
    """bfloat16 where a device has instructions for it (processors: AVX512-BF16 or AMX, GPUs: compute capability 8 and
    later), else float32. What is tracked is as good with it, though not the same (docs/performance.md).
    """
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    try:
        flags = _CPUINFO.read_text(encoding="utf-8")
    except OSError:  # another system than Linux
        return "float32"
    return "bfloat16" if _BFLOAT16.search(flags) else "float32"


def torch_runtime(model: SyncVIS, device: str, precision: Precision, why: str = "") -> Runtime:
    """PyTorch on "cpu" or "cuda", where the model is: on a GPU as CUDA graphs (`graphs.py`), where its steps are
    functions of tensors (`tensors.py`).
    """
    if device == "cuda" and model.config.structure == "synchronous":
        from syncvis_online.graphs import GraphRuntime

        return GraphRuntime(model, precision, why)
    return TorchRuntime(model, precision, why)
