"""Pictures in, tracks out: the encoder, the slot tracker and the masks put together for one stream at a time.

Each picture is encoded once; its features serve every window that holds it. Holds no state of a stream: the
caller keeps `TrackerState` and the features that it still needs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from syncvis_online.checkpoint import Checkpoint, load_model
from syncvis_online.config import TrackerConfig
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.masks import tracks_of
from syncvis_online.model import SyncVIS
from syncvis_online.tracker import SlotTracker, TrackerState
from syncvis_online.types import FrameTracks, Image, Track


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """Tracks of the answered frames, oldest first, the state after the window, and seconds for each stage."""

    tracks: tuple[tuple[Track, ...], ...]
    state: TrackerState
    stages_s: dict[str, float]


def load_tracker(
    model: str,
    *,
    device: str = "auto",
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> OnlineTracker:
    """The tracker for a checkpoint, by path or by the name of one that ships.

    `settings` override keys of the checkpoint's tracker config; `device`: auto, cpu or cuda; `threads` of each
    operator, torch's choice when None. Raises ModelError for the checkpoint and ConfigError for the rest.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{device}' (there are: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' is wanted, and PyTorch finds none")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = load_model(model)
    values = {**checkpoint.tracker.to_mapping(), **(settings or {})}
    return OnlineTracker(checkpoint, TrackerConfig.from_mapping(values, "tracker settings"), device)


class OnlineTracker:
    """A checkpoint made ready to answer windows. Not safe to call from two threads at once."""

    def __init__(
        self, checkpoint: Checkpoint, config: TrackerConfig | None = None, device: str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.model: SyncVIS = checkpoint.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config or checkpoint.tracker
        self.labels: tuple[str, ...] = self.model.config.labels
        self.slots = SlotTracker(self.model, self.config)

    def initial_state(self) -> TrackerState:
        """The state of a stream of which nothing was seen yet."""
        return self.slots.initial_state()

    def prepare(self, image: Image) -> torch.Tensor:
        """A picture (H, W, 3) uint8 RGB, any size, as the encoder wants it: (1, 3, H', W') uint8."""
        height, width = self.model.input_size(*image.shape[:2])
        how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
        resized = cv2.resize(image, (width, height), interpolation=how)
        return torch.from_numpy(resized).permute(2, 0, 1)[None].to(self.device)

    @torch.inference_mode()
    def encode(self, prepared: torch.Tensor) -> FrameFeatures:
        """Features of prepared pictures (B, 3, H, W), with axes (B, ...)."""
        return self.model.encode(prepared)

    def answer(
        self,
        features: Sequence[FrameFeatures],
        times_s: Sequence[float],
        answers: int,
        state: TrackerState,
        size: tuple[int, int],
    ) -> WindowAnswer:
        """Answer the newest `answers` frames of one window.

        `features`: of its frames, oldest first, each (1, ...); `times_s`: the stream's time of each in seconds;
        `size`: (height, width) of the masks. Raises ValueError when `answers` is not in [1, frames].
        """
        if not 1 <= answers <= len(features) == len(times_s):
            raise ValueError(f"cannot answer {answers} of {len(features)} frames with {len(times_s)} times")
        began = time.perf_counter()
        window = FrameFeatures.stack(features)
        state = self.slots.retire(state, times_s[-1])
        output = self.slots.decode(window, [state])
        decoded = time.perf_counter()
        detections, state = self.slots.update(window, output, 0, times_s, answers, state)
        updated = time.perf_counter()
        tracks = tuple(tracks_of(d, size, self.labels) for d in detections)
        stages = {
            "decode": decoded - began,
            "track": updated - decoded,
            "masks": time.perf_counter() - updated,
        }
        return WindowAnswer(tracks, state, stages)

    def track_video(self, frames: Iterable[Image], fps: float) -> Iterator[FrameTracks]:
        """Track a video causally: each frame's answer is what is said when its window is answered.

        Windows of `window_frames` frames every `stride` frames; a short tail is answered too.
        """
        config, state = self.config, self.initial_state()
        features: deque[FrameFeatures] = deque(maxlen=config.window_frames)
        waiting, size = 0, (0, 0)
        index = -1
        for index, image in enumerate(frames):
            size = (image.shape[0], image.shape[1])
            features.append(self.encode(self.prepare(image)))
            waiting += 1
            if waiting == config.stride:
                state = yield from self._answered(features, index, fps, waiting, state, size)
                waiting = 0
        if waiting:
            yield from self._answered(features, index, fps, waiting, state, size)

    def _answered(
        self,
        features: Sequence[FrameFeatures],
        index: int,
        fps: float,
        answers: int,
        state: TrackerState,
        size: tuple[int, int],
    ) -> Generator[FrameTracks, None, TrackerState]:
        T = len(features)
        times = ((index - T + 1 + np.arange(T)) / fps).tolist()
        answer = self.answer(list(features), times, answers, state, size)
        for i, tracks in enumerate(answer.tracks):
            yield FrameTracks(index - answers + 1 + i, tracks)
        return answer.state
