"""Evaluate a tracker on videos: run it over each, judge what it said, put the figures into one dictionary.

Owns the loop and the form of the result. The tracker comes in as a factory, one fresh tracker a video.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from syncvis_online.errors import ConfigError
from syncvis_online.evaluation.average_precision import tube_average_precision
from syncvis_online.evaluation.hota import hota_counts
from syncvis_online.evaluation.identity import identity_counts
from syncvis_online.evaluation.tubes import VideoResult, predicted_tubes
from syncvis_online.evaluation.videos import EvaluationVideo, open_videos
from syncvis_online.files import replacing
from syncvis_online.online import Mode
from syncvis_online.types import FrameTracks, Image

log = logging.getLogger(__name__)


class VideoTracker(Protocol):
    """What is evaluated: takes a video frame by frame and answers every frame once, in order."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it can answer."""
        ...

    def track_video(self, frames: Iterable[Image], fps: float, mode: Mode) -> Iterator[FrameTracks]:
        """Answers for `frames`, (H, W, 3) uint8 RGB; masks have the size of the frames."""
        ...


TrackerFactory = Callable[[], VideoTracker]


def evaluate(
    spec: str, tracker_factory: TrackerFactory, *, mode: Mode = "streaming", progress: bool = False
) -> dict[str, Any]:
    """Run a tracker over the videos of SPEC and judge it.

    Gives AP, AP50, AP75, AR1, AR10 (tubes, YouTube-VIS), HOTA, DetA, AssA, IDF1, IDSW, MOTA (masks by frame,
    TrackEval), all but IDSW as shares; `by_area`, `per_class`; the counts `videos`, `frames`,
    `ground_truth_tubes`, `predicted_tracks`; `seconds` of tracking (reading or rendering not counted) and `fps`.
    A class that the data has and the tracker cannot answer counts, as a miss, and is logged. Raises ConfigError or
    DataError before any work when SPEC or its data is wrong, or when they have no class in common, ValueError when the
    tracker skips frames.
    """
    videos = open_videos(spec)
    _check_labels(spec, videos, tracker_factory().labels)
    results, seconds, frames = [], 0.0, sum(video.length for video in videos)
    with tqdm(total=frames, unit="frame", desc="evaluate", disable=not progress) as bar:
        for video in videos:
            result, took = _run(video, tracker_factory(), mode, bar.update)
            results.append(result)
            seconds += took
    return {
        "data": spec,
        "mode": mode,
        **judge(results),
        "videos": len(videos),
        "frames": frames,
        "seconds": round(seconds, 3),
        "fps": round(frames / seconds, 3) if seconds else 0.0,
    }


def judge(results: list[VideoResult]) -> dict[str, Any]:
    """The figures of what a tracker said about some videos, without the time that it took."""
    counts = identity_counts(results)
    figures = tube_average_precision(results)
    return {
        **{key: figures[key] for key in ("AP", "AP50", "AP75", "AR1", "AR10")},
        **hota_counts(results).figures(),
        "IDF1": counts.idf1,
        "IDSW": counts.IDSW,
        "MOTA": counts.mota,
        "ground_truth_tubes": sum(len(result.ground_truth) for result in results),
        "predicted_tracks": sum(len(result.predicted) for result in results),
        "detections": {"TP": counts.TP, "FP": counts.FP, "FN": counts.FN},
        "by_area": figures["by_area"],
        "per_class": figures["per_class"],
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, at once: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _check_labels(spec: str, videos: Sequence[EvaluationVideo], known: Sequence[str]) -> None:
    wanted = {label for video in videos for label in video.labels}
    if wanted and not wanted & set(known):
        raise ConfigError(
            f"{spec}: its classes ({', '.join(sorted(wanted))}) are none of the model's ({', '.join(known)})"
        )
    if missing := sorted(wanted - set(known)):
        log.warning("%s: the model does not know %s: every such object is a miss", spec, ", ".join(missing))


def _run(
    video: EvaluationVideo, tracker: VideoTracker, mode: Mode, tick: Callable[[], object]
) -> tuple[VideoResult, float]:
    rendering = _Timed(video.frames())
    started = time.perf_counter()
    answers = []
    for answer in tracker.track_video(rendering, video.fps, mode):
        answers.append(answer)
        tick()
    took = time.perf_counter() - started - rendering.seconds
    predicted = predicted_tubes(answers, video.length, video.size)
    return VideoResult(video.ground_truth(), predicted, video.labels), took


class _Timed:
    """An iterator that notes the time spent in what it iterates over."""

    def __init__(self, frames: Iterator[Image]) -> None:
        self._frames = frames
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Image]:
        return self

    def __next__(self) -> Image:
        started = time.perf_counter()
        try:
            return next(self._frames)
        finally:
            self.seconds += time.perf_counter() - started
