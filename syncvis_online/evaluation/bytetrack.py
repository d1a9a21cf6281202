"""ByteTrack on the boxes of what a window finds by itself: what a detector and a box tracker would give.

The tracker is Roboflow's (package `trackers`), asked for only when it is used; the boxes are of masks found from the
learned queries in every window, with the same encoder and thresholds as every other association.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from syncvis_online.checkpoint import Checkpoint
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.online import Mode, OnlineTracker
from syncvis_online.types import FrameTracks, Image, Track

LOW_SCORE = 0.1
"""Boxes from this score on take part in ByteTrack's second stage, in which tracks are continued, not begun."""


class ByteTrackVideoTracker:
    """Detections of each window by itself, followed by ByteTrack. Streaming only.

    Of the tracker's config: `birth_score` begins a track and parts ByteTrack's two stages, `max_lost_s` is how long a
    lost one waits. Raises ConfigError when the package `trackers` is not installed.
    """

    def __init__(self, tracker: OnlineTracker) -> None:
        self._byte = _import()
        self._thresholds = tracker.config
        config = replace(
            tracker.config,
            birth_score=LOW_SCORE,
            keep_score=LOW_SCORE,
            tentative_s=0.0,
            reidentify_s=0.0,
            association="cosine",
        )
        self._detector = OnlineTracker(Checkpoint(tracker.model, config, {}), config, str(tracker.device))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it can answer."""
        return self._detector.labels

    def track_video(self, frames: Iterable[Image], fps: float, mode: Mode) -> Iterator[FrameTracks]:
        """See `VideoTracker`. Raises ConfigError for another mode than "streaming"."""
        if mode != "streaming":
            raise ConfigError(f"association bytetrack: there is no {mode} mode")
        follow = self._byte.ByteTrackTracker(
            lost_track_buffer=round(self._thresholds.max_lost_s * 30),
            frame_rate=fps,
            track_activation_threshold=self._thresholds.birth_score,
            high_conf_det_threshold=self._thresholds.birth_score,
            minimum_consecutive_frames=1,
        )
        for index, tracks in enumerate(self._found(frames, fps)):
            yield FrameTracks(index, self._followed(follow, tracks))

    def _found(self, frames: Iterable[Image], fps: float) -> Iterator[tuple[Track, ...]]:
        """What each frame's window, which starts from the learned queries, finds on it."""
        detector = self._detector
        kept: deque[FrameFeatures] = deque(maxlen=detector.config.window_frames)
        for image in frames:
            kept.append(detector.encode(detector.prepare(image)))
            times = (np.arange(len(kept)) / fps).tolist()
            answer = detector.answer(list(kept), times, 1, detector.initial_state(), image.shape[:2])
            yield answer.tracks[0]

    def _followed(self, follow: Any, tracks: tuple[Track, ...]) -> tuple[Track, ...]:
        import supervision

        if not tracks:
            follow.update(supervision.Detections.empty())
            return ()
        boxes = coco_mask.toBbox([track.mask for track in tracks])
        boxes[:, 2:] += boxes[:, :2]
        found = follow.update(
            supervision.Detections(
                xyxy=boxes,
                confidence=np.array([track.score for track in tracks]),
                data={"place": np.arange(len(tracks))},
            )
        )
        pairs = zip(found.data.get("place", ()), found.tracker_id, strict=True)
        return tuple(replace(tracks[i], track_id=int(identity) + 1) for i, identity in pairs if identity >= 0)


def _import() -> Any:
    try:
        import trackers
    except ImportError as error:
        raise ConfigError(
            "association bytetrack needs the package trackers: pip install --no-deps trackers supervision pydeprecate"
        ) from error
    return trackers
