"""OpenVINO, imported without its telemetry, and how its models are compiled here."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_TELEMETRY = "openvino_telemetry"
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def openvino_version() -> str | None:
    """The version that is installed, None where none is; imports nothing."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def import_openvino() -> Any:
    """The module `openvino`. Raises ImportError where it is not installed, or cannot be loaded.

    Importing it sends an event to Google Analytics and writes an identifier to ~/intel, as its telemetry is on unless
    it was declined. Where the package of the telemetry cannot be imported, OpenVINO has a stub for it: so it is hidden.
    """
    if "openvino" not in sys.modules:
        before = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # for import: there is no such module
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]
            if before is not None:
                sys.modules[_TELEMETRY] = before
    return sys.modules["openvino"]


def compiled(path: Path, threads: int, precision: str = "float32") -> Any:
    """An inference request of the model in a file (.xml, with the .bin beside it), on the processor. `precision`:
    "float32" or "bfloat16", of what is computed in between; inputs and outputs stay as they are.
    """
    openvino = import_openvino()
    settings = {
        # Left to itself, OpenVINO takes bfloat16 where the processor has it.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Its threads share their cores with video and with other programs.
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
