"""What a run leaves to look at while it goes on: lines of JSON, TensorBoard, a sample picture now and then."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import cv2

from syncvis_online.files import replacing
from syncvis_online.types import Image

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class Records:
    """The records of one run in its folder; those of steps after `step`, which a resumed run makes anew, are dropped.

    `log.jsonl` has one object a line; `tensorboard/`, where that is installed, the same figures and the pictures;
    `pictures/STEP.png` the pictures alone. Use it as a context manager.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        path = folder / "log.jsonl"
        if path.is_file():
            _keep_until(path, step)
        self._lines = path.open("a", encoding="utf-8")
        self._board = _open_board(folder / "tensorboard", step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if self._board:
            self._board.close()

    def figures(self, step: int, seconds: float, rate: float, terms: dict[str, float]) -> None:
        """The terms of the loss at a step, `seconds` of training into the run."""
        # NaN is no JSON.
        rounded = {key: round(value, 3) if math.isfinite(value) else None for key, value in terms.items()}
        record = {"step": step, "s": round(seconds, 1), "rate": float(f"{rate:.3g}"), **rounded}
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()
        if self._board:
            for key, value in terms.items():
                self._board.add_scalar(f"loss/{key}", value, step)
            self._board.add_scalar("rate", rate, step)

    def picture(self, step: int, image: Image) -> None:
        """A sample picture (H, W, 3) RGB."""
        path = self._folder / "pictures" / f"{step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1])
        if self._board:
            self._board.add_image("sample", image, step, dataformats="HWC")


def _open_board(folder: Path, step: int) -> SummaryWriter | None:
    try:  # an extra
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning(
            "TensorBoard is not installed (pip install 'syncvis-online[train]'): log.jsonl alone is written"
        )
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a last one that was cut off."""
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
    with replacing(path) as draft:
        draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    try:
        record: dict[str, Any] = json.loads(line)
        return float(record["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
