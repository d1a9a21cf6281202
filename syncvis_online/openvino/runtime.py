"""The network computed by OpenVINO, and by torch while there is no OpenVINO for a size of pictures yet.

Owns the threads in which networks are made ready: nobody who waits for an answer waits for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syncvis_online.config import ModelConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.errors import ModelError
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.openvino.files import Conversions, Files, ProgramEnds
from syncvis_online.openvino.library import compiled, openvino_version
from syncvis_online.runtime import Precision, RuntimeInfo, TorchRuntime, native_precision
from syncvis_online.tensors import (
    decoder_inputs,
    decoder_output,
    encoder_output,
    features_of,
    flat_features,
    random_pictures,
)

_log = logging.getLogger(__name__)

Size = tuple[int, int]


def obstacle(config: ModelConfig, device: str, precision: str = "float32") -> str | None:
    """Why OpenVINO cannot compute a model on a device, in a few words; None where nothing is known against it."""
    if device != "cpu":
        return f"the device is {device}, not cpu"
    if precision == "bfloat16" and native_precision(device) != "bfloat16":
        return "the precision is bfloat16, for which this processor has no instructions"
    if precision not in ("float32", "bfloat16"):
        return f"the precision is {precision}, not float32 or bfloat16"
    if config.structure != "synchronous":
        return f"the model's structure is {config.structure}, not synchronous"
    if openvino_version() is None:
        return "the extra is not installed: pip install 'syncvis-online[openvino]'"
    return None


@dataclass(frozen=True, slots=True)
class _Ready:
    """Requests of the networks for one size of pictures."""

    size: Size
    mask_stride: int
    encoder: Any
    decoder: Any

    def encode(self, picture: Tensor) -> FrameFeatures:
        """One picture (1, 3, H, W) uint8."""
        return encoder_output(_infer(self.encoder, (picture,)), self.size, self.mask_stride)

    def decode(self, features: FrameFeatures, queries: Tensor) -> tuple[Tensor, ...]:
        """One window: logits, embeddings, v after it."""
        return _infer(self.decoder, decoder_inputs(features, queries))


def _infer(request: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What a network makes of `inputs`, in memory of its own."""
    request.infer([np.ascontiguousarray(tensor.numpy()) for tensor in inputs], share_inputs=True)
    return tuple(torch.from_numpy(made.data.copy()) for made in request.output_tensors)


class OpenVINORuntime:
    """A model on the processor, in float32 or bfloat16; inputs, outputs and all between the two steps are float32.

    A size of pictures that is new is made ready in a thread, from what is kept in files or, the first time on a
    machine, by a process that converts the network. Until then, and for windows of fewer than `frames` (a stream's
    first), torch answers, in float32, which differs by rounding. Sizes are few: each is the model's own short side by a
    multiple of 32 of up to twice that. Once `ending` is set no network is converted, and one that is being converted is
    given up.
    """

    def __init__(
        self,
        model: SyncVIS,
        checkpoint: Path,
        frames: int,
        folder: Path | None = None,
        ending: threading.Event | None = None,
        precision: Precision = "float32",
    ) -> None:
        self._model = model
        self._precision = precision
        self._torch = TorchRuntime(model)
        self._frames = frames
        self._threads = torch.get_num_threads()
        self._conversions = Conversions(checkpoint, frames, folder, ending)
        self._making: dict[Size, threading.Thread] = {}
        self._ready: dict[Size, _Ready] = {}
        self._failed: dict[Size, ModelError] = {}

    @property
    def info(self) -> RuntimeInfo:
        """And for which pictures torch answers, as of now."""
        not_ready = [
            f"{width} x {height}"
            for height, width in tuple(self._making)
            if (height, width) not in self._ready
        ]
        why = f"torch answers for pictures of {', '.join(not_ready)}" if not_ready else ""
        return RuntimeInfo("openvino", "cpu", self._precision, why)

    def prepare(self, size: Size) -> None:
        """Make it ready for pictures (H, W), as they are encoded, and wait for that or `ending`. Raises ModelError."""
        self._begin(size)
        self._making[size].join()
        if size in self._failed:
            raise self._failed[size]

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) uint8 -> their features (B, ...)."""
        size = (prepared.shape[-2], prepared.shape[-1])
        self._begin(size)
        if (ready := self._ready.get(size)) is None:
            return self._torch.encode(prepared)
        return FrameFeatures.batch([ready.encode(picture[None]) for picture in prepared])

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> the last layer's video branch, and v after the windows."""
        frames, size = features.level_masks[0].shape[1], self._size(features)
        if frames != self._frames or (ready := self._ready.get(size)) is None:
            return self._torch.decode(features, queries)
        rows = range(len(queries))
        flat = [ready.decode(_row(features, i), queries[i : i + 1]) for i in rows]
        return decoder_output([torch.cat(parts) for parts in zip(*flat, strict=True)])

    @staticmethod
    def _size(features: FrameFeatures) -> Size:
        """Of the pictures (H, W) that the features are of."""
        height, width = features.sizes[0]
        return 32 * height, 32 * width

    def _begin(self, size: Size) -> None:
        if size not in self._making:
            name = f"openvino {size[1]}x{size[0]}"
            # Not a daemon, as the thread that asks may be: it has a process to end when the program ends.
            self._making[size] = threading.Thread(target=self._make, args=(size,), name=name, daemon=False)
            self._making[size].start()

    def _make(self, size: Size) -> None:
        """Convert, compile and try; what comes of it is logged."""
        began = time.monotonic()
        pictures = f"pictures of {size[1]} x {size[0]}"
        if not self._conversions.files(size).there:
            _log.info(
                "the network is converted for %s, once on this machine; until then torch answers", pictures
            )
        try:
            self._ready[size] = self._made(size)
        except ProgramEnds:
            return
        except ModelError as error:
            self._failed[size] = ModelError(f"OpenVINO: {pictures}: {error}")
            _log.warning("torch goes on for %s: the network %s", pictures, error)
            return
        _log.info("OpenVINO is ready for %s after %.1f s", pictures, time.monotonic() - began)

    def _made(self, size: Size) -> _Ready:
        with self._conversions.opened(size) as files:
            try:
                return self._tried(size, files)
            except (RuntimeError, ImportError) as error:  # OpenVINO's own, of many lines
                files.discard()
                lines = str(error).strip().splitlines()
                reason = lines[-1] if lines else type(error).__name__
                raise ModelError(f"cannot be loaded: {reason}") from None

    def _tried(self, size: Size, files: Files) -> _Ready:
        """Compiled. The first inference takes memory and time that the others do not: so that was done."""
        networks = (compiled(path, self._threads, self._precision) for path in (files.encoder, files.decoder))
        ready = _Ready(size, self._model.config.mask_stride, *networks)
        with torch.inference_mode():
            frames = [ready.encode(picture) for picture in random_pictures(size, self._frames)]
            window = FrameFeatures.stack(frames)
            ready.decode(window, self._model.initial_queries(window))
        return ready


def _row(features: FrameFeatures, i: int) -> FrameFeatures:
    """One window of several."""
    if len(features.mask_features) == 1:
        return features
    return features_of([tensor[i : i + 1] for tensor in flat_features(features)], features.sizes)
