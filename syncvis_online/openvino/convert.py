"""`python -m syncvis_online.openvino.convert CHECKPOINT FOLDER HEIGHT WIDTH FRAMES`: a network for OpenVINO.

Writes `encoder.xml` and `decoder.xml`, with their weights, for pictures of one size and windows of so many frames, and
only what agrees with torch. A process of its own, since exporting takes torch half a minute of one core and a hundred
megabytes, and holds up all else in its process. Does not use `openvino.convert_model`, which brings telemetry.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from syncvis_online.checkpoint import load_model
from syncvis_online.errors import ModelError, SyncVISError
from syncvis_online.features import FrameFeatures
from syncvis_online.folding import fold_batch_norms
from syncvis_online.model import SyncVIS
from syncvis_online.openvino.keeping import prune, writing
from syncvis_online.openvino.library import compiled, import_openvino
from syncvis_online.tensors import (
    FlatDecoder,
    FlatEncoder,
    decoder_inputs,
    encoder_output,
    random_pictures,
)

TOLERANCE = 1e-3
"""Of the largest value: what is converted is not used when it differs from torch by more (usual: 1e-6)."""
NICENESS = 10

Computes = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


def convert(checkpoint: Path, folder: Path, size: tuple[int, int], frames: int) -> None:
    """Make `folder`, all or nothing, unless it is there, and remove what was not used for long. Raises ModelError when
    the network cannot be converted.
    """
    with writing(folder) as draft:  # another process may be at it already
        if folder.is_dir():
            return
        draft.mkdir()
        _write(checkpoint, draft, size, frames)
        draft.rename(folder)
        prune(folder.parent)


def _write(checkpoint: Path, folder: Path, size: tuple[int, int], frames: int) -> None:
    model = load_model(str(checkpoint)).model
    fold_batch_norms(model)
    pictures = random_pictures(size, frames)
    encoder, decoder = FlatEncoder(model), FlatDecoder(model, size)
    _save(encoder, (pictures[0],), folder / "encoder.xml")
    encoded = [_checked("encoder", encoder, folder / "encoder.xml", (picture,)) for picture in pictures]
    stride = model.config.mask_stride
    window = _window(model, [encoder_output(flat, size, stride) for flat in encoded])
    _save(decoder, window, folder / "decoder.xml")
    _checked("decoder", decoder, folder / "decoder.xml", window)


def _window(model: SyncVIS, frames: Sequence[FrameFeatures]) -> tuple[Tensor, ...]:
    """What the decoder is given of a first window."""
    features = FrameFeatures.stack(frames)
    with torch.no_grad():
        return decoder_inputs(features, model.initial_queries(features))


def _save(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """A module as an OpenVINO model that takes inputs of these shapes only, in float32."""
    openvino: Any = import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with torch.no_grad():
        program = torch.export.export(module.eval(), inputs, strict=False)
    graph = TorchFXPythonDecoder.from_exported_program(
        program
    )  # which the front end refers to, but does not keep
    frontend = FrontEndManager().load_by_framework("pytorch")
    converted = frontend.convert(frontend.load(graph))
    converted.reshape({i: list(tensor.shape) for i, tensor in enumerate(inputs)})
    openvino.save_model(converted, path, compress_to_fp16=False)


def _checked(name: str, module: nn.Module, path: Path, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What torch makes of `inputs`. Raises ModelError when OpenVINO makes something else of them."""
    request = compiled(path, 1)
    request.infer([tensor.numpy() for tensor in inputs])
    with torch.no_grad():
        wanted: tuple[Tensor, ...] = module(*inputs)
    for tensor, made in zip(wanted, request.output_tensors, strict=True):
        worst = float((torch.from_numpy(made.data) - tensor).abs().max())
        if not worst <= TOLERANCE * max(1.0, float(tensor.abs().max())):
            raise ModelError(f"the {name} in OpenVINO differs from torch by {worst:.1e}")
    return wanted


def main(arguments: Sequence[str]) -> int:
    """Convert; the last line on stderr says why not, where it fails."""
    checkpoint, folder, *numbers = arguments
    height, width, frames = map(int, numbers)
    os.nice(NICENESS)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        convert(Path(checkpoint), Path(folder), (height, width), frames)
    except SyncVISError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # whatever torch and OpenVINO raise, in many lines; the last says most
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        print(f"{type(error).__name__}: {lines[-1] if lines else ''}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
