"""The network on a GPU as records that are replayed: what launches hundreds of kernels becomes one launch.

A decoder of small matrices is bound by the host that launches its kernels one by one. CUDA graphs (Gray, "Getting
started with CUDA graphs", NVIDIA 2019; torch.cuda.CUDAGraph) keep them, for tensors of one shape, at one place. Owns
the records; what is computed is `TorchRuntime`'s. Each record is compared with what it was made from before it is used.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from syncvis_online.decoder import DecoderOutput
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.runtime import Precision, RuntimeInfo, TorchRuntime
from syncvis_online.tensors import (
    decoder_features,
    decoder_inputs,
    decoder_output,
    features_of,
    flat_features,
    level_sizes,
)

_log = logging.getLogger(__name__)

Step = Callable[..., tuple[Tensor, ...]]
"""Tensors in, tensors out, and nothing else: what it does must not depend on what is in them."""

RECORDS = 48
"""At most so many are kept of a step: one for each shape, that is for each size of pictures and number of cameras."""
AGREES = 0.01
"""A record may differ from what it was made from by so much of the largest number: rounding, as sums may be taken in
another order."""


_RECORDING = threading.Lock()
"""One record is made at a time in a process."""


class RecordedStep:
    """A step that is recorded for each shape of its inputs when that is first there, and replayed from then on.

    Where it cannot be recorded, or the record says something else, it is computed as it is, and a warning says so once
    for each shape. The shapes that were used last are kept, `most` of them.
    """

    def __init__(
        self, name: str, step: Step, record: Callable[[Step, Sequence[Tensor]], Step], most: int = RECORDS
    ) -> None:
        self._name, self._step, self._record, self._most = name, step, record, most
        self._records: OrderedDict[tuple[Any, ...], Step] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the step makes of `inputs`, in memory of its own."""
        shapes = tuple((x.shape, x.dtype) for x in inputs)
        if shapes not in self._records:
            self._records[shapes] = self._made(inputs)
            if len(self._records) > self._most:
                self._records.popitem(last=False)
        self._records.move_to_end(shapes)
        return self._records[shapes](*inputs)

    def _made(self, inputs: Sequence[Tensor]) -> Step:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs[:2])
        try:
            recorded = self._record(self._step, inputs)
            apart = _apart(self._step(*inputs), recorded(*inputs))
        except Exception as error:  # whatever torch and the driver raise: it can be computed without
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            _log.warning("%s of %s is not recorded: %s", self._name, shapes, reason)
            return self._step
        if not apart <= AGREES:  # nor where it is not a number
            _log.warning("%s of %s is not recorded: the record is off by %.2g", self._name, shapes, apart)
            return self._step
        return recorded


def _apart(wanted: Sequence[Tensor], said: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest number of its tensor."""
    return max(
        float((a - b).abs().max() / a.abs().max().clamp(min=1e-6)) for a, b in zip(wanted, said, strict=True)
    )


class CudaGraphs:
    """Records steps as CUDA graphs, all in one pool of memory: an answer is copied out before the next is computed."""

    WARM_UP = 3
    """Runs before a record, in which libraries choose their ways and take their memory."""

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, step: Step, inputs: Sequence[Tensor]) -> Step:
        """The step for tensors of these shapes; it runs on the stream that is current when it is called."""
        current, graph = torch.cuda.current_stream(self._aside.device), torch.cuda.CUDAGraph()
        places = [x.clone() for x in inputs]
        self._aside.wait_stream(current)
        with _RECORDING:
            with torch.cuda.stream(self._aside):
                for _ in range(self.WARM_UP):
                    step(*places)
            # What another thread does on its own stream meanwhile is none of the record's business.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._aside, capture_error_mode="thread_local"
            ):
                made = step(*places)
        current.wait_stream(self._aside)

        def replay(*given: Tensor) -> tuple[Tensor, ...]:
            for place, tensor in zip(places, given, strict=True):
                place.copy_(tensor, non_blocking=True)
            graph.replay()
            return tuple(tensor.clone() for tensor in made)

        return replay


def encoding_step(runtime: TorchRuntime) -> Step:
    """Pictures (B, 3, H, W) uint8 -> `flat_features`."""
    return lambda prepared: flat_features(runtime.encode(prepared))


def decoding_step(runtime: TorchRuntime, sizes: tuple[tuple[int, int], ...]) -> Step:
    """`decoder_inputs` of windows whose levels' maps have these sizes -> what `decoder_output` puts together."""

    def step(queries: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        output = runtime.decode(decoder_features(features, sizes), queries)
        said = output.layers[-1].video
        return said.logits, said.embeds, output.video_queries

    return step


class GraphRuntime:
    """A model on a GPU, in PyTorch, with each step recorded. Its two steps may be called from two threads, each on a
    stream of its own.
    """

    def __init__(self, model: SyncVIS, precision: Precision = "float32", why: str = "") -> None:
        self._torch = TorchRuntime(model, precision, why)
        device = model.propagate.weight.device
        self._encode = RecordedStep("encoding", encoding_step(self._torch), CudaGraphs(device))
        self._decode: dict[tuple[tuple[int, int], ...], RecordedStep] = {}
        self._decoder_graphs = CudaGraphs(device)

    @property
    def info(self) -> RuntimeInfo:
        """Of what it records."""
        return self._torch.info

    def encode(self, prepared: Tensor) -> FrameFeatures:
        """Prepared pictures (B, 3, H, W) uint8 -> their features (B, ...)."""
        return features_of(self._encode(prepared), level_sizes((prepared.shape[-2], prepared.shape[-1])))

    def decode(self, features: FrameFeatures, queries: Tensor) -> DecoderOutput:
        """Windows (B, T, ...) with v0 (B, N, C) -> the last layer's video branch, and v after the windows."""
        sizes = features.sizes
        if sizes not in self._decode:
            step = decoding_step(self._torch, sizes)
            self._decode[sizes] = RecordedStep("decoding", step, self._decoder_graphs)
        return decoder_output(self._decode[sizes](*decoder_inputs(features, queries)))
