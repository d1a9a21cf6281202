"""Where converted networks are kept, and the process that makes them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from syncvis_online.errors import ModelError
from syncvis_online.openvino.keeping import discard_draft, reading
from syncvis_online.openvino.library import openvino_version

_PACKAGE = Path(__file__).resolve().parent.parent
_CODE = (
    *("model.py", "decoder.py", "pixel_decoder.py", "deformable.py", "features.py", "position_encoding.py"),
    *("folding.py", "backbones/*.py", "openvino/convert.py", "openvino/library.py", "tensors.py"),
)
"""Whatever decides what is made of a checkpoint: where it changes, what was kept is not used any more."""
_LOOKS_AGAIN_S = 0.2
_NEEDED = re.compile(r"PATH|HOME|LANG|TZ|TMPDIR|VIRTUAL_ENV|(LC|LD|MALLOC|OMP)_.*|PYTHON.*")


def default_folder() -> Path:
    """Where converted networks are kept: systemd's CacheDirectory, or the user's own place (XDG Base Directory)."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / "openvino"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "syncvis-online" / "openvino"


class ProgramEnds(Exception):
    """The program ends, or is told to, before a network was made."""


@dataclass(frozen=True, slots=True)
class Files:
    """The two networks of a checkpoint for one size of pictures."""

    folder: Path

    @property
    def encoder(self) -> Path:
        """Pictures to features."""
        return self.folder / "encoder.xml"

    @property
    def decoder(self) -> Path:
        """Windows to what is said of them."""
        return self.folder / "decoder.xml"

    @property
    def there(self) -> bool:
        """Whether they were made; a folder is there as a whole or not at all."""
        return self.folder.is_dir()

    def discard(self) -> None:
        """Remove them, as they are damaged: they are made again the next time."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Conversions:
    """The converted networks of one checkpoint, for windows of `frames`, under `folder`. `ending`: is set when the
    program is told to end.
    """

    def __init__(
        self,
        checkpoint: Path,
        frames: int,
        folder: Path | None = None,
        ending: threading.Event | None = None,
    ) -> None:
        self._checkpoint, self._frames = checkpoint, frames
        self._ending = ending or threading.Event()
        self._folder = folder or default_folder()
        code = [path for pattern in _CODE for path in sorted(_PACKAGE.glob(pattern))]
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in (checkpoint, *code)))
        self._name = f"{digest.hexdigest()[:16]}-{openvino_version()}-{torch.__version__}"

    def files(self, size: tuple[int, int]) -> Files:
        """Where those for pictures of a size (H, W) are, or will be."""
        return Files(self._folder / f"{self._name}-{size[0]}x{size[1]}-{self._frames}")

    @contextmanager
    def opened(self, size: tuple[int, int]) -> Iterator[Files]:
        """The files, made where they are not there; nobody removes them while inside. Raises as `make`."""
        while True:
            files = self.make(size)
            with reading(files.folder):
                if files.there:  # another process may have removed what was not used for long
                    yield files
                    return

    def make(self, size: tuple[int, int]) -> Files:
        """Have them made, unless they are there. Raises ModelError when that fails, ProgramEnds when that is first."""
        files = self.files(size)
        if files.there:
            return files
        numbers = [str(number) for number in (*size, self._frames)]
        module = "syncvis_online.openvino.convert"
        command = [sys.executable, "-P", "-m", module, str(self._checkpoint), str(files.folder), *numbers]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the program, which ends it
                env=_environment(),
            ) as process:
                self._wait(process, files)
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
        if process.returncode:
            raise ModelError(f"cannot be converted: {lines[-1] if lines else f'exit {process.returncode}'}")
        return files

    def _wait(self, process: subprocess.Popen[bytes], files: Files) -> None:
        """Until it has ended, or the program ends, which waits for its threads: then it leaves nothing behind."""
        while process.poll() is None:
            if self._ending.is_set() or not threading.main_thread().is_alive():
                process.kill()
                process.wait()
                discard_draft(files.folder)
                raise ProgramEnds
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOKS_AGAIN_S)


def _environment() -> dict[str, str]:
    """What the process needs of ours; passwords and tokens may be among the rest."""
    needed = {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}
    path = (str(_PACKAGE.parent), os.environ.get("PYTHONPATH"))
    return {**needed, "PYTHONPATH": os.pathsep.join(part for part in path if part)}
