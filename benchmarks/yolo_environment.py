"""A virtual environment with Ultralytics in it, apart from this project's: it is AGPL, and never a dependency.

It borrows torch, NumPy and OpenCV of the environment that runs this, so that both systems compute with one build; and
its settings keep it from calling home, downloading and installing. Owns the environment, knows nothing of what runs.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import torch

PACKAGES = ("ultralytics==8.4.190", "ultralytics-thop==2.2.3", "lap==0.5.13")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "syncvis-online" / "yolo"
INSTALL_WITHIN_S = 300.0


class Unavailable(Exception):
    """The environment cannot be made; the message says why, in a line."""


def torchvision_for(torch_version: str) -> str:
    """The requirement for torchvision of a torch: 2.13.0 goes with 0.28."""
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    if major != 2:
        raise Unavailable(f"it is not known which torchvision goes with torch {torch_version}")
    return f"torchvision==0.{minor + 15}.*"


def python_with_yolo(folder: Path = CACHE) -> Path:
    """The interpreter of the environment in `folder`, which is made there the first time. Raises Unavailable."""
    wanted = "\n".join((*PACKAGES, torchvision_for(torch.__version__), *site.getsitepackages()))
    done, python = folder / "made", folder / "bin" / "python"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    try:
        venv.create(folder, with_pip=False, clear=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
        command = [*pip, *wanted.splitlines()[:4]]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_WITHIN_S)
        (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr or "").strip().splitlines()
        raise Unavailable(lines[-1] if lines else f"pip ended with {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(" ".join(str(error).split())) from None
    done.write_text(wanted, encoding="utf-8")
    return python


def quiet_settings(folder: Path = CACHE) -> dict[str, str]:
    """Variables of the environment in which Ultralytics stays on this machine."""
    (folder / "config").mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder / "config"),
        "YOLO_VERBOSE": "false",
    }
