"""The only file of the live side that knows torch and the model: windows in, tracked frames out.

Owns each camera's tracker state and the features of the frames that its next window may share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from stream.identities import IdLedger
from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.types import Track

if TYPE_CHECKING:  # importing torch takes seconds; a program that never loads an engine does not pay them
    from torch import Tensor

    from syncvis_online.features import FrameFeatures
    from syncvis_online.online import OnlineTracker
    from syncvis_online.runtime import RuntimeInfo
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


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that answers windows of several cameras in one call faster than one after the other."""

    @property
    def most_windows(self) -> int:
        """How many it is given at once, at most."""
        ...

    def process_together(self, windows: Sequence[Window]) -> Sequence[EngineAnswer]:
        """Answer windows, each of another camera, as `process` would each. Raises, and no camera has changed."""
        ...


E = TypeVar("E")


@runtime_checkable
class StagedEngine(BatchEngine, Protocol[E]):
    """An engine whose work has two halves, which may go on at the same time, each on a thread of its own: while one
    camera's window is answered, the next one is encoded. Both in one order of windows.
    """

    @property
    def overlaps(self) -> bool:
        """Whether it is of use that they go on at the same time."""
        ...

    def encode_together(self, windows: Sequence[Window]) -> Sequence[E]:
        """The first half, of windows of different cameras: what depends on pictures alone. Raises, and no camera has
        changed.
        """
        ...

    def answer_together(self, encoded: Sequence[E]) -> Sequence[EngineAnswer]:
        """The second half: answers, as `process` would give each. Raises, and no camera has changed."""
        ...


@runtime_checkable
class NamedEngine(Engine, Protocol):
    """An engine that says what it computes, and with what."""

    @property
    def file(self) -> str:
        """The name of its checkpoint's file, without the folder; empty where there is none."""
        ...

    @property
    def info(self) -> RuntimeInfo:
        """Library, device, precision."""
        ...


@runtime_checkable
class ResumableEngine(Engine, Protocol):
    """An engine of which a camera's state can be taken along, to go on in another process."""

    def snapshot(self, camera: str) -> bytes | None:
        """All that is remembered of a camera's tracks; None where nothing is."""
        ...

    def restore(self, camera: str, data: bytes, first_id: int = 1) -> None:
        """Go on with a camera from what `snapshot` gave; new tracks get ids from `first_id` on, or above those that it
        has given. Raises DataError, and nothing has changed.
        """
        ...


RESUMED_WITHIN_S = 10.0
"""A camera that goes on elsewhere within so many seconds does so as if no time had passed."""


@dataclass
class _Camera:
    """The tracker's state of a camera. `resumed`: it is a snapshot's, and no window was answered since."""

    state: TrackerState
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A window with the features of its frames, oldest first. `stages_s`: where the time went, that of all windows
    which were encoded together. `ready`: to be called before they are used.
    """

    window: Window
    features: tuple[FrameFeatures, ...]
    stages_s: Mapping[str, float]
    ready: Callable[[], None]


class TrackerEngine:
    """An `OnlineTracker` for many cameras, whatever computes its network (syncvis_online.runtime). Each frame is
    encoded once, whatever the number of windows that hold it.

    `most_windows`: of how many cameras windows are answered at once; None: 16 on a GPU, where a batch takes little
    longer than one window, and 1 on a processor, where it takes as long as all of them. `overlap`: encode the next
    pictures while windows are answered; None: on a GPU. On a processor both halves want the same cores: more frames of
    several cameras are answered, but each of them later.
    """

    def __init__(
        self,
        tracker: OnlineTracker,
        ledger: IdLedger | None = None,
        *,
        most_windows: int | None = None,
        overlap: bool | None = None,
    ) -> None:
        self._tracker = tracker
        self._ledger = ledger or IdLedger()
        self._cameras: dict[str, _Camera] = {}
        self._features: dict[str, tuple[tuple[Frame, FrameFeatures], ...]] = {}
        """Of the newest window's frames, at most Ts."""
        on_gpu = tracker.device.type == "cuda"
        self.most_windows = most_windows or (16 if on_gpu else 1)
        self.overlaps = on_gpu if overlap is None else overlap

    @property
    def file(self) -> str:
        """The name of the checkpoint's file, without the folder; empty where there is none."""
        return self._tracker.file

    @property
    def info(self) -> RuntimeInfo:
        """What computes the network: library, device, precision."""
        return self._tracker.runtime.info

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
        return self.process_together((window,))[0]

    def process_together(self, windows: Sequence[Window]) -> list[EngineAnswer]:
        """Answer windows, each of another camera. Raises, and no camera has changed."""
        return self.answer_together(self.encode_together(windows))

    def encode_together(self, windows: Sequence[Window]) -> list[Encoded]:
        """Encode the frames that no window before held, pictures of one size together."""
        began = time.perf_counter()
        features = [self._known(window) for window in windows]
        by_size: dict[tuple[int, ...], list[tuple[int, int, Tensor]]] = {}
        with self._tracker.encoding() as ready:
            for i, window in enumerate(windows):
                for t, frame in enumerate(window.frames):
                    if features[i][t] is None:
                        prepared = self._tracker.prepare(frame.image)
                        by_size.setdefault(tuple(prepared.shape), []).append((i, t, prepared))
            prepared_at = time.perf_counter()
            for new in by_size.values():
                pictures = [picture for _, _, picture in new]
                encoded = self._tracker.encode_together(pictures, self.most_windows)
                for (i, t, _), of_frame in zip(new, encoded, strict=True):
                    features[i][t] = of_frame
        stages = {"preprocess": prepared_at - began, "encode": time.perf_counter() - prepared_at}
        made = []
        for window, of_window in zip(windows, features, strict=True):
            whole = tuple(x for x in of_window if x is not None)
            self._features[window.camera] = tuple(zip(window.frames, whole, strict=True))
            made.append(Encoded(window, whole, stages, ready))
        return made

    def answer_together(self, encoded: Sequence[Encoded]) -> list[EngineAnswer]:
        """Answer windows, each of another camera, from their features."""
        from syncvis_online.online import WindowRequest

        cameras = [self._cameras.get(e.window.camera) or self._begin(e.window.camera) for e in encoded]
        for each in encoded:
            each.ready()
        requests = []
        for of_window, camera in zip(encoded, cameras, strict=True):
            window = of_window.window
            times = [frame.captured_at_s for frame in window.frames]
            height, width, _ = window.frames[-1].image.shape
            state = self._continued(window, camera)
            requests.append(WindowRequest(of_window.features, times, window.answers, state, (height, width)))
        answers = self._tracker.answer_together(requests)
        told = []
        for of_window, camera, answer in zip(encoded, cameras, answers, strict=True):
            window = of_window.window
            out_of_slots = answer.state.out_of_slots - camera.state.out_of_slots
            camera.state, camera.resumed = answer.state, False
            self._cameras[window.camera] = camera
            self._ledger.given(window.camera, answer.state.next_id)
            frames = _tracked_frames(window, answer.tracks)
            told.append(EngineAnswer(frames, {**of_window.stages_s, **answer.stages_s}, out_of_slots))
        return told

    def _continued(self, window: Window, camera: _Camera) -> TrackerState:
        """The state that a window goes on from. The time in which a camera moved from one process to another is no time
        in which its objects were away, unless it is long.
        """
        now_s = window.frames[0].captured_at_s
        if window.after:
            return self._tracker.after_break(camera.state, window.policy, now_s)
        away_s = now_s - camera.state.now_s
        if not camera.resumed or away_s <= 0:
            return camera.state
        return self._tracker.after_break(camera.state, "keep" if away_s <= RESUMED_WITHIN_S else "age", now_s)

    def _begin(self, name: str) -> _Camera:
        """A camera of which nothing is known but the ids that it was given before."""
        return _Camera(replace(self._tracker.initial_state(), next_id=self._ledger.first(name)))

    def _known(self, window: Window) -> list[FrameFeatures | None]:
        """Features of a window's frames that the camera's window before held. Frames are told by their pictures too: a
        camera that was removed and added again counts from 0.
        """
        kept = {(frame.seq, id(frame.image)): x for frame, x in self._features.get(window.camera, ())}
        return [kept.get((frame.seq, id(frame.image))) for frame in window.frames]

    def forget(self, camera: str) -> None:
        """Drop all state of a camera that was removed, but for which ids it has given."""
        self._cameras.pop(camera, None)
        self._features.pop(camera, None)

    def snapshot(self, camera: str) -> bytes | None:
        """See `ResumableEngine`: the tracker's state, without its pictures' features, in safetensors' format."""
        known = self._cameras.get(camera)
        return None if known is None else known.state.to_bytes()

    def restore(self, camera: str, data: bytes, first_id: int = 1) -> None:
        """See `ResumableEngine`."""
        from syncvis_online.state import TrackerState

        state = TrackerState.from_bytes(data, self._tracker.initial_state())
        next_id = max(state.next_id, first_id, self._ledger.first(camera))
        self._ledger.given(camera, next_id)
        self._cameras[camera] = _Camera(replace(state, next_id=next_id), resumed=True)


def _tracked_frames(window: Window, tracks: Sequence[tuple[Track, ...]]) -> tuple[TrackedFrame, ...]:
    flags = (window.after,) if window.after in ("gap", "resize") else ()
    answered = window.frames[-window.answers :]
    return tuple(
        _tracked(frame, of_frame, flags if i == 0 else ())
        for i, (frame, of_frame) in enumerate(zip(answered, tracks, strict=True))
    )


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
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    overlap: bool | None = None,
    tracker: Mapping[str, Any] | None = None,
    ledger: IdLedger | None = None,
    ending: Event | None = None,
) -> Engine:
    """The engine for a checkpoint; `overlap`: see `TrackerEngine`; `ledger`: of the ids that cameras were given;
    `ending`: set it, in another thread, when the program is to end, and no network is converted for OpenVINO any more,
    which takes half a minute.

    Raises ModelError and ConfigError: see `syncvis_online.online.load_tracker`.
    """
    from syncvis_online.online import load_tracker

    loaded = load_tracker(
        model,
        device=device,
        engine=engine,
        precision=precision,
        threads=threads,
        settings=tracker,
        ending=ending,
    )
    return TrackerEngine(loaded, ledger, overlap=overlap)
