"""Pictures in, tracks out: the encoder, the slot tracker and the masks put together for one stream at a time.

Each picture is encoded once; its features serve every window that holds it. Holds no state of a stream: the
caller keeps `TrackerState` and the features that it still needs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Literal

import cv2
import numpy as np
import torch

from syncvis_online.checkpoint import Checkpoint, load_model, resolve_model
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.folding import fold_batch_norms
from syncvis_online.masks import tracks_of
from syncvis_online.model import SyncVIS
from syncvis_online.runtime import Runtime, TorchRuntime, open_runtime
from syncvis_online.state import TrackerState
from syncvis_online.tracker import SlotTracker
from syncvis_online.types import FrameTracks, Image, Track

Mode = Literal["streaming", "offline"]


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """A window of which the newest `answers` frames are to be answered.

    `features`: of its frames, oldest first, each (1, ...); `times_s`: the stream's time of each in seconds; `state`:
    the stream's, before it; `size`: (height, width) of the masks. Raises ValueError when `answers` is not in [1,
    frames].
    """

    features: Sequence[FrameFeatures]
    times_s: Sequence[float]
    answers: int
    state: TrackerState
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if not 1 <= self.answers <= len(self.features) == len(self.times_s):
            raise ValueError(
                f"cannot answer {self.answers} of {len(self.features)} frames with {len(self.times_s)} times"
            )

    @property
    def shape(self) -> tuple[object, ...]:
        """Windows of one shape can be decoded together."""
        return len(self.features), self.features[0].sizes, self.features[0].mask_features.shape


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """Tracks of the answered frames, oldest first, the state after the window, and seconds for each stage: those of all
    windows that were answered together.
    """

    tracks: tuple[tuple[Track, ...], ...]
    state: TrackerState
    stages_s: dict[str, float]


def load_tracker(
    model: str,
    *,
    device: str = "auto",
    engine: str = "torch",
    precision: str = "float32",
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
    ending: Event | None = None,
) -> OnlineTracker:
    """The tracker for a checkpoint, by path or by the name of one that ships.

    `settings` override keys of the checkpoint's tracker config; `device`: auto, cpu or cuda; `engine` (auto, torch or
    openvino) and `precision` (auto, float32, bfloat16 or float16): see `syncvis_online.runtime`; `threads` of each
    operator, torch's choice when None; `ending`: see `open_runtime`. Raises ModelError for the checkpoint and
    ConfigError for the rest.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{device}' (there are: auto, cpu, cuda)")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' is wanted, and PyTorch finds none")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads is not None:
        torch.set_num_threads(threads)
    path = resolve_model(model)
    checkpoint = load_model(str(path))
    fold_batch_norms(checkpoint.model)
    values = {**checkpoint.tracker.to_mapping(), **(settings or {})}
    config = TrackerConfig.from_mapping(values, "tracker settings")
    network = checkpoint.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    runtime = open_runtime(engine, network, path, device, config, precision, ending)
    return OnlineTracker(checkpoint, config, device, runtime, path.name)


class OnlineTracker:
    """A checkpoint made ready to answer windows. `runtime` computes its network, torch where None; `file`: the name of
    the file that it is from, without the folder.

    Not safe to call from two threads at once.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: TrackerConfig | None = None,
        device: str = "cpu",
        runtime: Runtime | None = None,
        file: str = "",
    ) -> None:
        self.device = torch.device(device)
        self.model: SyncVIS = checkpoint.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config or checkpoint.tracker
        self.file = file
        self.labels: tuple[str, ...] = self.model.config.labels
        self.runtime = runtime or TorchRuntime(self.model)
        self.slots = SlotTracker(self.model, self.config, self.runtime, checkpoint.recognizer)
        on_gpu = self.device.type == "cuda"
        self._encoding_stream = torch.cuda.Stream(self.device) if on_gpu else None

    def initial_state(self) -> TrackerState:
        """The state of a stream of which nothing was seen yet."""
        return self.slots.initial_state()

    def after_break(
        self, state: TrackerState, policy: Literal["keep", "age", "reset"], now_s: float
    ) -> TrackerState:
        """The state with which a stream goes on at `now_s`, after a break in it.

        "keep": as if no time had passed since the newest frame before; "age": what was not seen for too long by now is
        retired; "reset": every slot free. Ids go on in each case.
        """
        if policy == "reset":
            fresh = self.initial_state()
            return replace(fresh, next_id=state.next_id, out_of_slots=state.out_of_slots)
        if policy == "age":
            return self.slots.retire(state, now_s, broken=True)
        return state.shifted(now_s - state.now_s) if np.isfinite(state.now_s) else state

    def prepare(self, image: Image) -> torch.Tensor:
        """A picture (H, W, 3) uint8 RGB, any size, as the encoder wants it: (1, 3, H', W') uint8."""
        rows, columns = image.shape[:2]
        height, width = self.model.input_size(rows, columns, self.config.short_side)
        how = cv2.INTER_AREA if height < rows else cv2.INTER_LINEAR
        resized = torch.from_numpy(cv2.resize(image, (width, height), interpolation=how))
        if self.device.type == "cuda":  # from memory that stays where it is, a GPU copies by itself
            resized = resized.pin_memory()
        return resized.permute(2, 0, 1)[None].to(self.device, non_blocking=True)

    @contextmanager
    def encoding(self) -> Iterator[Callable[[], None]]:
        """What is prepared and encoded inside may go on at the same time as what another thread decodes: on a GPU it
        has a stream of its own. Who decodes calls what this gives before, and keeps the features until that is done.
        """
        if self._encoding_stream is None:
            yield lambda: None
            return
        encoded = torch.cuda.Event()
        with torch.cuda.stream(self._encoding_stream):
            yield lambda: torch.cuda.current_stream(self.device).wait_event(encoded)
            encoded.record(self._encoding_stream)

    @torch.inference_mode()
    def encode(self, prepared: torch.Tensor) -> FrameFeatures:
        """Features of prepared pictures (B, 3, H, W), with axes (B, ...)."""
        features = self.runtime.encode(prepared)
        return replace(features, picture=prepared) if self.config.reidentify_s else features

    def encode_together(self, prepared: Sequence[torch.Tensor], most: int) -> list[FrameFeatures]:
        """Features (1, ...) of each of some prepared pictures of one size, encoded at most `most` at a time."""
        features = []
        for first in range(0, len(prepared), most):
            batch = self.encode(torch.cat(tuple(prepared[first : first + most])))
            features += [batch.frame(row) for row in range(len(batch.mask_features))]
        return features

    def answer(
        self,
        features: Sequence[FrameFeatures],
        times_s: Sequence[float],
        answers: int,
        state: TrackerState,
        size: tuple[int, int],
    ) -> WindowAnswer:
        """Answer the newest `answers` frames of one window; see `WindowRequest`."""
        return self.answer_together([WindowRequest(features, times_s, answers, state, size)])[0]

    def answer_together(self, requests: Sequence[WindowRequest]) -> list[WindowAnswer]:
        """Answer windows of different streams, each as it would be answered alone, but for rounding: those of one shape
        are decoded in one call.
        """
        began = time.perf_counter()
        decoded: dict[int, tuple[DecoderOutput, int, TrackerState]] = {}
        by_shape: dict[tuple[object, ...], list[int]] = {}
        for i, request in enumerate(requests):
            by_shape.setdefault(request.shape, []).append(i)
        for group in by_shape.values():
            states, output = self._decode(
                [requests[i].features for i in group],
                [requests[i].times_s for i in group],
                [requests[i].state for i in group],
            )
            decoded |= {
                i: (output, row, state) for row, (i, state) in enumerate(zip(group, states, strict=True))
            }
        told = time.perf_counter()
        updated = []
        for i, request in enumerate(requests):
            output, row, state = decoded[i]
            frames, times_s, answers = request.features, request.times_s, request.answers
            updated.append(self.slots.update(frames, output, row, times_s, answers, state))
        tracked = time.perf_counter()
        tracks = [
            tuple(tracks_of(found, request.size, self.labels) for found in detections)
            for request, (detections, _) in zip(requests, updated, strict=True)
        ]
        stages = {"decode": told - began, "track": tracked - told, "masks": time.perf_counter() - tracked}
        return [WindowAnswer(said, state, stages) for said, (_, state) in zip(tracks, updated, strict=True)]

    def advance(
        self, features: Sequence[FrameFeatures], times_s: Sequence[float], answers: int, state: TrackerState
    ) -> TrackerState:
        """The state after a window of which nothing is to be told; arguments as of `answer`."""
        (before,), output = self._decode([features], [times_s], [state])
        return self.slots.update(features, output, 0, times_s, answers, before)[1]

    def _decode(
        self,
        features: Sequence[Sequence[FrameFeatures]],
        times_s: Sequence[Sequence[float]],
        states: Sequence[TrackerState],
    ) -> tuple[list[TrackerState], DecoderOutput]:
        """Decode windows of one shape, each of another stream, as one: the states they are decoded with; the output."""
        windows = FrameFeatures.batch([FrameFeatures.stack(frames) for frames in features])
        ready = [self.slots.retire(state, times[-1]) for state, times in zip(states, times_s, strict=True)]
        return ready, self.slots.decode(windows, ready)

    def revise(
        self,
        features: Sequence[FrameFeatures],
        times_s: Sequence[float],
        answers: int,
        state: TrackerState,
        size: tuple[int, int],
    ) -> tuple[tuple[tuple[Track, ...], ...], TrackerState]:
        """What a window says of all of its frames, and the state after it; arguments as of `answer`."""
        (before,), output = self._decode([features], [times_s], [state])
        _, after = self.slots.update(features, output, 0, times_s, answers, before)
        revised = self.slots.revise(features, output, 0, times_s, answers, before, after)
        return tuple(tracks_of(d, size, self.labels) for d in revised), after

    def track_video(
        self,
        frames: Iterable[Image],
        fps: float,
        mode: Mode = "streaming",
        state: TrackerState | None = None,
    ) -> Iterator[FrameTracks]:
        """Track a video, window by window: `window_frames` frames every `stride` frames; a short tail counts too.

        "streaming" is causal: each frame's answer is what was said when its window was answered. "offline": it is
        what the last window that holds the frame says of it, which has seen the frames that came after. `state`: that
        of a stream which goes on with this video, at time 0 (see `after_break`); None: nothing was seen before.
        """
        video = _Video(self, fps, state or self.initial_state())
        for image in frames:
            yield from video.push(image, mode)
        yield from video.finish(mode)


class _Video:
    """One video on its way through the tracker."""

    def __init__(self, tracker: OnlineTracker, fps: float, state: TrackerState) -> None:
        self._tracker, self._fps = tracker, fps
        self._config = tracker.config
        self._state = state
        self._features: deque[FrameFeatures] = deque(maxlen=self._config.window_frames)
        self._index, self._waiting = -1, 0
        self._size = (0, 0)
        self._open: dict[int, tuple[Track, ...]] = {}
        """Offline: what was said last of the frames that a window may still hold."""

    def push(self, image: Image, mode: Mode) -> Iterator[FrameTracks]:
        """The next picture; gives the answers that are final by it."""
        self._size = (image.shape[0], image.shape[1])
        self._features.append(self._tracker.encode(self._tracker.prepare(image)))
        self._index += 1
        self._waiting += 1
        if self._waiting == self._config.stride:
            yield from self._answered(mode)

    def finish(self, mode: Mode) -> Iterator[FrameTracks]:
        """There are no more pictures; gives the answers that are left."""
        if self._waiting:
            yield from self._answered(mode)
        yield from (FrameTracks(index, tracks) for index, tracks in sorted(self._open.items()))

    def _answered(self, mode: Mode) -> Iterator[FrameTracks]:
        T, answers, self._waiting = len(self._features), self._waiting, 0
        times = ((self._index - T + 1 + np.arange(T)) / self._fps).tolist()
        features = list(self._features)
        if mode == "streaming":
            answer = self._tracker.answer(features, times, answers, self._state, self._size)
            self._state = answer.state
            for i, tracks in enumerate(answer.tracks):
                yield FrameTracks(self._index - answers + 1 + i, tracks)
            return
        revised, self._state = self._tracker.revise(features, times, answers, self._state, self._size)
        self._open |= {self._index - T + 1 + i: tracks for i, tracks in enumerate(revised)}
        # Where the video ends early, the next window ends with the very next frame.
        first = self._index + 2 - self._config.window_frames
        for index in sorted(index for index in self._open if index < first):
            yield FrameTracks(index, self._open.pop(index))
