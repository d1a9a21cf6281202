"""Tensors out of files of other projects: safetensors, torch's zip files, detectron2's pickles.

Nothing in a file is ever executed: safetensors holds none, torch loads with `weights_only`, and pickles go through
an unpickler that knows NumPy arrays and plain containers and refuses every other name.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from syncvis_online.errors import ModelError

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}
"""All that detectron2's model zoo needs; none of them can be made to run anything."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which weights do not need")
        return super().find_class(module, name)


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_shards(index: Path) -> dict[str, Tensor]:
    """All files that a Hugging Face index names; they must lie beside it."""
    names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        if Path(name).name != name:
            raise ModelError(f"{index}: names a file outside of its folder")
        tensors.update(load_file(index.with_name(name)))
    return tensors


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": load_file,
    ".json": _read_shards,
    ".pkl": _read_pickle,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
}

FILES_OF_A_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)
"""Where Hugging Face puts weights, in the order in which they are looked for."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Raises ModelError naming the file when it cannot be read, or holds none."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ModelError(f"{path}: weights are read from {', '.join(_READERS)} files")
    try:
        data = reader(path)
    except ModelError:
        raise
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise ModelError(f"{path}: cannot be read ({type(error).__name__})") from None
    tensors = _tensors(data)
    if not tensors:
        raise ModelError(f"{path}: holds no tensors")
    return tensors


def _tensors(data: Any) -> dict[str, Tensor]:
    """The named arrays of a checkpoint: those under "model" or "state_dict", where there is such a key."""
    for key in ("model", "state_dict"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping):
        return {}
    tensors = {}
    for name, value in data.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            tensors[str(name)] = torch.from_numpy(value.copy())
        elif isinstance(value, Tensor):
            tensors[str(name)] = value
    return tensors
