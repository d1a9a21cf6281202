"""What a tracker sees of labelled videos, frame by frame: what there is to tell identities by, and whose it is.

A video is tracked once, with identities that are slots, and what the slots show is kept, also on disk: tracking takes
far longer than all that is learned from it. Owns the recording and its file; what is made of it is not known here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from syncvis_online.candidates import Candidates
from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import TrackerConfig
from syncvis_online.evaluation.videos import EvaluationVideo
from syncvis_online.features import FrameFeatures
from syncvis_online.files import replacing
from syncvis_online.identities import Sightings
from syncvis_online.online import OnlineTracker
from syncvis_online.recognition import Views
from syncvis_online.state import TrackerState
from syncvis_online.tracker import OfSlots, SlotTracker
from syncvis_online.types import Track

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame: what the slots show, `held` being the slots' own ids and `looks` their queries; and the object that
    each is, or -1.
    """

    sightings: Sightings
    views: Views
    truth: Ids


@dataclass(frozen=True, slots=True)
class Shot:
    """One video: its frames, and on how many frames each object is."""

    fps: float
    frames: tuple[Shown, ...]
    lengths: Ids
    classes: int

    def save(self, path: Path) -> None:
        """Write it as an archive of arrays, all or nothing."""
        arrays: dict[str, Any] = {
            name.name: np.concatenate([getattr(f.sightings, name.name) for f in self.frames])
            for name in fields(Sightings)
        }
        arrays["vectors"] = np.concatenate([f.views.vectors for f in self.frames])
        arrays["crops"] = np.concatenate([f.views.crops for f in self.frames])
        arrays["truth"] = np.concatenate([f.truth for f in self.frames])
        arrays["counts"] = np.array([len(f.truth) for f in self.frames])
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, fps=self.fps, lengths=self.lengths, classes=self.classes, **arrays)

    @staticmethod
    def load(path: Path) -> Shot | None:
        """What `save` wrote; None where it is not there, or damaged."""
        try:
            with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = {name: np.split(arrays[name], ends) for name in (*_OF_SIGHTINGS, "vectors", "crops", "truth")}
        frames = tuple(
            Shown(
                Sightings(**{name: parts[name][t] for name in _OF_SIGHTINGS}),
                Views(parts["vectors"][t], parts["crops"][t]),
                parts["truth"][t],
            )
            for t in range(len(arrays["counts"]))
        )
        return Shot(float(arrays["fps"]), frames, arrays["lengths"], int(arrays["classes"]))


_OF_SIGHTINGS = tuple(each.name for each in fields(Sightings))


class _Recorder(SlotTracker):
    """A tracker whose identities are slots, that keeps what it would recognise them by."""

    sightings: Sightings
    views: Views

    def _looks(
        self,
        found: Candidates,
        of_slots: OfSlots,
        frame: FrameFeatures,
        seen: Sequence[int],
        state: TrackerState,
    ) -> Sightings:
        looks = super()._looks(found, of_slots, frame, seen, state)
        self.views = self._views(found, of_slots, frame, seen, self._cut_outs(found, frame, seen))
        return looks

    def _recognized(
        self, state: TrackerState, seen: Sequence[int], looks: Sightings, newest_s: float, now_s: float
    ) -> TrackerState:
        state = self._named(state, seen, now_s)
        self.sightings = replace(looks, held=state.track_ids[list(seen)])
        return state


class Recording:
    """Records videos with a checkpoint, which is not to have a recognizer."""

    def __init__(self, checkpoint: Checkpoint, keep_s: float) -> None:
        values = {**checkpoint.tracker.to_mapping(), "reidentify_s": keep_s}
        config = TrackerConfig.from_mapping(values, "tracker")
        self._tracker = OnlineTracker(replace(checkpoint, recognizer=None), config)
        self._slots = _Recorder(self._tracker.model, config, self._tracker.runtime)
        self._tracker.slots = self._slots

    def record(self, video: EvaluationVideo, tick: Callable[[], object]) -> Shot:
        """Track a video; `tick` is called for each frame."""
        said: list[tuple[Sightings, Views, tuple[Track, ...]]] = []
        for answer in self._tracker.track_video(video.frames(), video.fps):
            said.append((self._slots.sightings, self._slots.views, answer.tracks))
            tick()
        tubes = video.ground_truth()
        frames = []
        for t, (looks, views, tracks) in enumerate(said):
            there = [(g, mask) for g, tube in enumerate(tubes) if (mask := tube.masks[t]) is not None]
            owner = _owners(tracks, there)
            truth = np.array([owner.get(int(i), -1) for i in looks.held], dtype=np.int64)
            frames.append(Shown(looks, views, truth))
        lengths = np.array([sum(mask is not None for mask in tube.masks) for tube in tubes])
        return Shot(video.fps, tuple(frames), lengths, len(self._tracker.labels))


def _owners(tracks: Sequence[Track], there: Sequence[tuple[int, Any]]) -> dict[int, int]:
    """The object that each track is at IoU 0.5, one to one."""
    if not tracks or not there:
        return {}
    iou = np.asarray(coco_mask.iou([t.mask for t in tracks], [m for _, m in there], [0] * len(there)))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {tracks[i].track_id: there[j][0] for i, j in pairs if iou[i, j] >= 0.5}
