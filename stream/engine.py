"""The only file of the live side that knows torch and the model: windows in, tracked frames out.

Owns each camera's tracker state and the features of the frames that its next window may share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.errors import ConfigError


class Engine(Protocol):
    """What the pipeline needs of an engine. All methods block; call them from one worker thread."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the model's logits."""
        ...

    @property
    def window_frames(self) -> int:
        """Ts: the most frames that a window holds."""
        ...

    @property
    def stride(self) -> int:
        """s: a new window starts every s frames."""
        ...

    def process(self, window: Window) -> EngineAnswer:
        """Answer the newest `window.answers` frames. State is kept for each `Frame.camera`."""
        ...

    def forget(self, camera: str) -> None:
        """Drop all state of a camera that was removed."""
        ...


@dataclass
class _Camera:
    """What is kept between the windows of one camera: at most Ts frames' features, and the tracker's state."""

    state: Any
    features: dict[int, Any] = field(default_factory=dict)


class TorchEngine:
    """The model in PyTorch. Each frame is encoded once, whatever the number of windows that hold it."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._cameras: dict[str, _Camera] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the model's logits."""
        labels: tuple[str, ...] = self._tracker.labels
        return labels

    @property
    def window_frames(self) -> int:
        """Ts: the most frames that a window holds."""
        return int(self._tracker.config.window_frames)

    @property
    def stride(self) -> int:
        """s: a new window starts every s frames."""
        return int(self._tracker.config.stride)

    def process(self, window: Window) -> EngineAnswer:
        """Answer the newest `window.answers` frames; all frames of a window have one size."""
        newest = window.frames[-1]
        camera = self._cameras.setdefault(newest.camera, _Camera(self._tracker.initial_state()))
        stages = self._encode(camera, window.frames)
        features = [camera.features[frame.seq] for frame in window.frames]
        times = [frame.captured_at_s for frame in window.frames]
        height, width, _ = newest.image.shape
        answer = self._tracker.answer(features, times, window.answers, camera.state, (height, width))
        camera.state = answer.state
        flags = ("gap",) if window.discontinuity else ()
        answered = window.frames[-window.answers :]
        frames = tuple(
            _tracked(frame, tracks, flags if i == 0 else ())
            for i, (frame, tracks) in enumerate(zip(answered, answer.tracks, strict=True))
        )
        return EngineAnswer(frames, {**stages, **answer.stages_s})

    def _encode(self, camera: _Camera, frames: tuple[Frame, ...]) -> dict[str, float]:
        """Encode the frames that no earlier window held; forget those that no later window will."""
        prepare_s = encode_s = 0.0
        kept = {}
        for frame in frames:
            features = camera.features.get(frame.seq)
            if features is None:
                began = time.perf_counter()
                prepared = self._tracker.prepare(frame.image)
                ready = time.perf_counter()
                features = self._tracker.encode(prepared)
                prepare_s += ready - began
                encode_s += time.perf_counter() - ready
            kept[frame.seq] = features
        camera.features = kept
        return {"preprocess": prepare_s, "encode": encode_s}

    def forget(self, camera: str) -> None:
        """Drop all state of a camera that was removed."""
        self._cameras.pop(camera, None)


def _tracked(frame: Frame, tracks: Any, flags: tuple[str, ...]) -> TrackedFrame:
    return TrackedFrame(
        camera=frame.camera,
        seq=frame.seq,
        pts=frame.pts,
        time_base=frame.time_base,
        captured_at_s=frame.captured_at_s,
        clock=frame.clock,
        tracks=tracks,
        image=frame.image,
        flags=flags,
    )


def load_engine(
    model: str, *, device: str = "auto", threads: int | None = None, tracker: Mapping[str, Any] | None = None
) -> Engine:
    """The engine for a checkpoint, by path or by the name of one that ships.

    `tracker` overrides keys of the checkpoint's tracker config. `threads`: of each operator, torch's choice when
    None. Raises ModelError for the checkpoint and ConfigError for the rest.
    """
    import torch

    from syncvis_online.checkpoint import load_model
    from syncvis_online.config import TrackerConfig
    from syncvis_online.online import OnlineTracker

    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{device}' (there are: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' is wanted, and PyTorch finds none")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = load_model(model)
    config = TrackerConfig.from_mapping(
        {**checkpoint.tracker.to_mapping(), **(tracker or {})}, "tracker settings"
    )
    return TorchEngine(OnlineTracker(checkpoint, config, device))
