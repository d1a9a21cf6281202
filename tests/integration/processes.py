"""Real processes for the integration tests: `syncvis-online` as a person starts it, on loopback."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import yaml

from syncvis_online.checkpoint import save_model
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.model import SyncVIS

COMMAND = (sys.executable, "-m", "stream.cli")


def write_checkpoint(folder: Path) -> Path:
    """A checkpoint of the real model, small and untrained: what it sees does not matter to these tests."""
    torch.manual_seed(0)
    config = ModelConfig(
        backbone_width=0.125, channels=16, mask_channels=8, queries=10, layers=3, heads=2, ffn_channels=32,
        synchronize_top_k=4, short_side=64,
    )  # fmt: skip
    path = folder / "tiny.safetensors"
    save_model(path, SyncVIS(config), TrackerConfig(window_frames=2, birth_score=0.0, keep_score=0.0), {})
    return path


def write_config(folder: Path, cameras: dict[str, str], **sections: Any) -> Path:
    """A config of `serve` for cameras by name and URL, on any free port."""
    config = {
        "cameras": {name: {"url": url} for name, url in cameras.items()},
        # Torch: these tests are of something else, and a network is not to be converted for them.
        "model": {"name": str(write_checkpoint(folder)), "threads": 1, "engine": "torch"},
        "server": {"port": 0},
        "state_dir": str(folder / "state"),
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(config | sections), encoding="utf-8")
    return path


class ServeProcess:
    """`syncvis-online serve CONFIG` in a process of its own; `address` is what it prints once it listens."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self._config, self._arguments = config, arguments
        self._errors = config.with_suffix(".stderr")
        self.address = ""

    def __enter__(self) -> Self:
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*COMMAND, "serve", str(self._config), *self._arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        assert found is not None, f"the server did not start: {line}{self.errors()}"
        self.address = found.group().rstrip("/")
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def errors(self) -> str:
        """All that it wrote on stderr so far."""
        return self._errors.read_text()

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; the exit code, and the seconds from the signal to the end of the process."""
        started = time.monotonic()
        self._process.send_signal(number)
        return self._process.wait(60), time.monotonic() - started

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
