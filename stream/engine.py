"""The only file of the live side that knows torch and the model: windows in, tracked frames out.

Owns each camera's tracker state and the features of the frames that its next window may share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from stream.identities import IdLedger
from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.types import Track

if TYPE_CHECKING:  # importing torch takes seconds; a program that never loads an engine does not pay them
    from syncvis_online.features import FrameFeatures
    from syncvis_online.online import OnlineTracker
    from syncvis_online.state import TrackerState


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

    @property
    def max_lost_s(self) -> float:
        """A track that was not seen for longer, in seconds, is never seen again."""
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

    state: TrackerState
    features: dict[int, FrameFeatures] = field(default_factory=dict)


class TorchEngine:
    """The model in PyTorch. Each frame is encoded once, whatever the number of windows that hold it."""

    def __init__(self, tracker: OnlineTracker, ledger: IdLedger | None = None) -> None:
        self._tracker = tracker
        self._ledger = ledger or IdLedger()
        self._cameras: dict[str, _Camera] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the model's logits."""
        return self._tracker.labels

    @property
    def window_frames(self) -> int:
        """Ts: the most frames that a window holds."""
        return self._tracker.config.window_frames

    @property
    def stride(self) -> int:
        """s: a new window starts every s frames."""
        return self._tracker.config.stride

    @property
    def max_lost_s(self) -> float:
        """A track that was not seen for longer, in seconds, is never seen again."""
        return self._tracker.config.forgotten_s

    def process(self, window: Window) -> EngineAnswer:
        """Answer the newest `window.answers` frames; all frames of a window have one size."""
        newest = window.frames[-1]
        camera = self._cameras.get(newest.camera) or self._begin(newest.camera)
        stages = self._encode(camera, window.frames)
        features = [camera.features[frame.seq] for frame in window.frames]
        times = [frame.captured_at_s for frame in window.frames]
        height, width, _ = newest.image.shape
        if window.after:
            camera.state = self._tracker.after_break(camera.state, window.policy, times[0])
        answer = self._tracker.answer(features, times, window.answers, camera.state, (height, width))
        out_of_slots = answer.state.out_of_slots - camera.state.out_of_slots
        camera.state = answer.state
        self._ledger.given(newest.camera, answer.state.next_id)
        flags = (window.after,) if window.after in ("gap", "resize") else ()
        answered = window.frames[-window.answers :]
        frames = tuple(
            _tracked(frame, tracks, flags if i == 0 else ())
            for i, (frame, tracks) in enumerate(zip(answered, answer.tracks, strict=True))
        )
        return EngineAnswer(frames, {**stages, **answer.stages_s}, out_of_slots)

    def _begin(self, name: str) -> _Camera:
        """A camera of which nothing is known but the ids that it was given before."""
        state = replace(self._tracker.initial_state(), next_id=self._ledger.first(name))
        self._cameras[name] = _Camera(state)
        return self._cameras[name]

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
        """Drop all state of a camera that was removed, but for which ids it has given."""
        self._cameras.pop(camera, None)


def _tracked(frame: Frame, tracks: tuple[Track, ...], flags: tuple[str, ...]) -> TrackedFrame:
    return TrackedFrame(
        camera=frame.camera,
        seq=frame.seq,
        pts=frame.pts,
        time_base=frame.time_base,
        captured_at_s=frame.captured_at_s,
        clock=frame.clock,
        tracks=tracks,
        image=frame.image,
        flags=(*flags, *frame.flags),
    )


def load_engine(
    model: str,
    *,
    device: str = "auto",
    threads: int | None = None,
    tracker: Mapping[str, Any] | None = None,
    ledger: IdLedger | None = None,
) -> Engine:
    """The engine for a checkpoint; `ledger`: of the ids that cameras were given.

    Raises ModelError and ConfigError: see `syncvis_online.online.load_tracker`.
    """
    from syncvis_online.online import load_tracker

    return TorchEngine(load_tracker(model, device=device, threads=threads, settings=tracker), ledger)
