"""Videos of the synthetic world rendered ahead, so that a trainer never waits for a renderer.

One folder a seed: pictures and maps of identities as arrays that are mapped into memory, so that a clip reads
only its own frames. Owns the files; what a world looks like is known in data/synthetic. Frames are rendered at
the level's own size and then resized as the tracker resizes a camera's: a world drawn small has other noise and
other edges than one that was filmed large.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from syncvis_online.data import synthetic
from syncvis_online.data.clips import Clip, clip_from_layers
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.types import LABELS

MAX_IDS = 255


def _render(
    level: str, frames: int, size: tuple[int, int], fps: float | None, folder: Path, seed: int
) -> Path:
    """Render one seed; written under another name and renamed."""
    path = folder / str(seed)
    cv2.setNumThreads(1)
    world = SyntheticWorld(load_level(level), seed, fps=fps)
    images = np.empty((frames, *size, 3), dtype=np.uint8)
    identities = np.zeros((frames, *size), dtype=np.uint8)
    slots: dict[int, int] = {}
    labels: list[int] = []
    for t in range(frames):
        frame = world.step()
        layers = np.zeros(frame.image.shape[:2], dtype=np.uint8)
        images[t] = cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA)
        for truth in frame.objects:
            if truth.track_id not in slots:
                if len(labels) == MAX_IDS:
                    continue
                slots[truth.track_id] = len(labels) + 1
                labels.append(LABELS.index(truth.label))
            layers[truth.mask] = slots[truth.track_id]
        identities[t] = cv2.resize(layers, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    temporary = folder / f".{seed}.{os.getpid()}"
    temporary.mkdir()
    np.save(temporary / "images.npy", images)
    np.save(temporary / "identities.npy", identities)
    np.save(temporary / "labels.npy", np.array(labels, dtype=np.int64))
    temporary.rename(path)
    return path


def _version(level: str) -> str:
    """A name for what the world looks like: its level and the code that draws it."""
    digest = hashlib.sha256(repr(load_level(level)).encode())
    for source in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _classes(path: Path) -> frozenset[int]:
    return frozenset(np.load(path / "labels.npy").tolist())


def _repeat_factors(videos: list[frozenset[int]]) -> NDArray[np.float64]:
    """Odds of each video that give rare classes their due: sqrt(1 / share of the videos with the class), of the
    rarest class in it (LVIS, Gupta et al., CVPR 2019, section 4), as shares of one.
    """
    counts = Counter(label for classes in videos for label in classes)
    factors = [max((np.sqrt(len(videos) / counts[c]) for c in classes), default=1.0) for classes in videos]
    odds = np.array(factors, dtype=np.float64)
    return odds / odds.sum()


class RenderedVideos:
    """The rendered videos of a range of seeds. Missing ones are rendered when this is made."""

    def __init__(
        self,
        level: str,
        seeds: Iterable[int],
        frames: int,
        size: tuple[int, int],
        cache: Path,
        *,
        fps: float | None = None,
        processes: int = 1,
        progress: bool = True,
    ) -> None:
        pace = "" if fps is None else f"-{fps:g}fps"
        folder = cache / f"{level}-{_version(level)}-{size[0]}x{size[1]}-{frames}{pace}"
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = [folder / str(seed) for seed in seeds]
        missing = [int(path.name) for path in self.paths if not path.is_dir()]
        if missing:
            self._render_all(partial(_render, level, frames, size, fps, folder), missing, processes, progress)
        self._odds = _repeat_factors([_classes(path) for path in self.paths])

    @staticmethod
    def _render_all(
        render: Callable[[int], Path], missing: list[int], processes: int, progress: bool
    ) -> None:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            done = pool.imap_unordered(render, missing)
            for _ in tqdm(done, total=len(missing), desc="rendering", unit="video", disable=not progress):
                pass

    def clip(self, rng: np.random.Generator, frames: int, spacing: int) -> Clip:
        """Some frames of some video, `spacing` apart, forward or backward in time."""
        path = self.paths[int(rng.choice(len(self.paths), p=self._odds))]
        images, identities = (
            np.load(path / f"{name}.npy", mmap_mode="r") for name in ("images", "identities")
        )
        labels = np.load(path / "labels.npy")
        total = len(images)
        spacing = max(1, min(spacing, (total - 1) // max(frames - 1, 1)))
        start = int(rng.integers(total - (frames - 1) * spacing))
        index = start + spacing * np.arange(frames)
        if rng.random() < 0.2:
            index = index[::-1]
        layers: NDArray[np.int16] = identities[index].astype(np.int16)
        return clip_from_layers(np.ascontiguousarray(images[index]), layers, labels)
