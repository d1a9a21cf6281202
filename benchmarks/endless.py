"""A camera that never ends: does anything grow, does an identity come twice, does the tracker get worse?

`python -m benchmarks.endless [--model NAME] [--engine NAME] [--precision NAME] [--frames N] [--drift WINDOWS]
[--json FILE]`

Tracks `synthetic:endless`, on which ten thousand objects pass, as a live camera's engine does, and prints a row for
every thousand objects: resident memory (MiB), CPU time of the tracker a window (ms), tracks a frame, ids given, frames
without a free slot. An id that comes back after it was retired, or that does not grow, ends the run with an error. What
else runs on the machine changes a window's time, and a window costs more the more is in it; so of the first
EARLY_S seconds KEPT windows are kept, with the state of that time, and then one of these, in turn, is answered again
every AGAIN frames: `ratio` is the stream's windows over those, `tracks_again` what they held. Free memory is given back
as a server does.

`--drift`: then that many windows without a reset, over the same first frames forward and backward, and after 100, after
all of them and in between a test segment, with the state that the stream has by then. What it scores should be the
same.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch
from tabulate import tabulate
from tqdm import tqdm

from stream.memory import share_heaps, trim
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.evaluation.run import judge, write_result
from syncvis_online.evaluation.tubes import VideoResult, predicted_tubes
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.features import FrameFeatures
from syncvis_online.online import OnlineTracker, WindowAnswer, load_tracker
from syncvis_online.state import TrackerState
from syncvis_online.types import FrameTracks, Track

SEED, FRAMES = 9700, 12_000
EVERY = 1000
"""Objects to a row."""
EARLY_S, KEPT, AGAIN = 60, 12, 20
SEGMENT = "synthetic:medium?seeds=9000-9019&frames=80"
BANK = 1000
"""Frames over which the drift runs, forward and backward."""
CHECKS = (100, 1_000, 10_000, 30_000, 50_000, 70_000, 100_000)
"""Windows after which the test segment is tracked, as far as the drift runs; and at its end."""
COLUMNS = ("HOTA", "IDF1", "AP50", "DetA")


@dataclass
class Stream:
    """One camera's windows, with what a live engine keeps of it and no more, but for `last_window`, which answers the
    newest one again, from the state before it.
    """

    tracker: OnlineTracker
    fps: float
    size: tuple[int, int]
    state: TrackerState = field(init=False)
    frames: int = 0
    last_window: Callable[[], WindowAnswer] | None = None

    def __post_init__(self) -> None:
        self.state = self.tracker.initial_state()
        self._features: deque[FrameFeatures] = deque(maxlen=self.tracker.config.window_frames)
        self._waiting = 0

    def push(self, features: FrameFeatures) -> tuple[tuple[Track, ...], ...]:
        """One more frame; the answers that are due by it, oldest first."""
        window = self._next(features)
        if window is None:
            return ()
        self.last_window = partial(self.tracker.answer, *window, self.state, self.size)
        answer = self.last_window()
        self.state = answer.state
        return answer.tracks

    def pass_by(self, features: FrameFeatures) -> None:
        """One more frame, of which nothing is to be told."""
        window = self._next(features)
        if window is not None:
            self.state = self.tracker.advance(*window, self.state)

    def _next(self, features: FrameFeatures) -> tuple[list[FrameFeatures], list[float], int] | None:
        """The window that is due, its times and how many of its frames are to be answered."""
        self._features.append(features)
        self.frames += 1
        self._waiting += 1
        if self._waiting < self.tracker.config.stride:
            return None
        first, waiting, self._waiting = self.frames - len(self._features), self._waiting, 0
        times = [(first + i) / self.fps for i in range(len(self._features))]
        return list(self._features), times, waiting


@dataclass
class Times:
    """CPU time of this process in windows, and what they told."""

    seconds: float = 0.0
    count: int = 0
    tracks: int = 0

    def of(self, call: Callable[[], tuple[tuple[Track, ...], ...]]) -> tuple[tuple[Track, ...], ...]:
        """The tracks by frame that it answers, timed."""
        began = time.process_time()
        answer = call()
        self.seconds += time.process_time() - began
        self.count += 1
        self.tracks += sum(map(len, answer))
        return answer

    @property
    def mean_ms(self) -> float:
        """Milliseconds a window; 0 before any."""
        return 1000 * self.seconds / max(1, self.count)

    @property
    def mean_tracks(self) -> float:
        """Tracks a window; 0 before any."""
        return self.tracks / max(1, self.count)


class Ids:
    """That an id is given once: one that is gone stays away, and one that is new was given just now. It may be told
    late (an object is first seen when it comes out from behind another), by less than `max_away` seconds.
    """

    def __init__(self, max_away: float) -> None:
        self._max_away = max_away
        self._last: dict[int, float] = {}
        self._growth: deque[tuple[float, int]] = deque()
        self._gone = 0
        self.newest = 0

    def check(self, tracks: tuple[Track, ...], now_s: float) -> None:
        """Raise ValueError at the first id that breaks the rule."""
        while self._growth and now_s - self._growth[0][0] > self._max_away:
            self._gone = self._growth.popleft()[1]
        for track in tracks:
            last = self._last.get(track.track_id)
            if last is None and track.track_id <= self._gone:
                raise ValueError(f"{now_s:.1f} s: id {track.track_id} is new, and not above {self._gone}")
            if last is not None and now_s - last > self._max_away:
                raise ValueError(f"{now_s:.1f} s: id {track.track_id} is back after {now_s - last:.1f} s")
            self._last[track.track_id] = now_s
        newest = max((track.track_id for track in tracks), default=0)
        if newest > self.newest:
            self.newest = newest
            self._growth.append((now_s, newest))
        for track_id in [i for i, last in self._last.items() if now_s - last > 60.0]:
            del self._last[track_id]  # long below the newest, so that it would be found by the other rule


def endless(tracker: OnlineTracker, frames: int, tell: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rows of the table: `tell` is given all so far."""
    level = load_level("endless")
    world = SyntheticWorld(level, SEED)
    stream, ids = Stream(tracker, level.fps, level.size), Ids(tracker.config.forgotten_s + 2 / level.fps)
    process = psutil.Process()
    rows: list[dict[str, Any]] = []
    passed, times, again = 0, Times(), Times()
    early: deque[Callable[[], WindowAnswer]] = deque()
    early_frames = min(round(EARLY_S * level.fps), frames // 2)
    apart = max(1, early_frames // KEPT)
    for index in tqdm(range(frames), unit="frame", desc="endless"):
        frame = world.step(masks=False)
        passed = max(passed, *world.alive_ids)
        features = tracker.encode(tracker.prepare(frame.image))
        for tracks in times.of(partial(stream.push, features)):
            ids.check(tracks, index / level.fps)
        if index < early_frames:
            if index % apart == apart - 1 and stream.last_window is not None:
                early.append(stream.last_window)
        elif index % AGAIN == 0 and early:
            again.of(lambda: early[0]().tracks)
            early.rotate(-1)
        if passed >= EVERY * (len(rows) + 1) or index == frames - 1:
            trim()
            rows.append(
                {
                    "objects": passed,
                    "frames": stream.frames,
                    "ids": ids.newest,
                    "rss_mib": round(process.memory_info().rss / 2**20, 1),
                    "tracks": round(times.mean_tracks, 2),
                    "tracks_again": round(again.mean_tracks, 2),
                    "ms_per_window": round(times.mean_ms, 3),
                    "ms_again": round(again.mean_ms, 3),
                    "ratio": round(times.mean_ms / again.mean_ms, 4) if again.count else None,
                    "out_of_slots": stream.state.out_of_slots,
                }
            )
            times, again = Times(), Times()
            tell(rows)


def there_and_back(count: int) -> Iterator[int]:
    """0, 1, ... count - 1, count - 2, ... 1, 0, 1, ... for ever."""
    while True:
        yield from range(count - 1)
        yield from range(count - 1, 0, -1)


def drift(tracker: OnlineTracker, windows: int, tell: Callable[[dict[int, dict[str, float]]], None]) -> None:
    """Figures of the test segment by windows before it, from 0 (a fresh tracker) on: `tell` is given all so far."""
    level = load_level("endless")
    world = SyntheticWorld(level, SEED)
    bank = [
        tracker.encode(tracker.prepare(world.step(masks=False).image))
        for _ in tqdm(range(min(BANK, windows)), unit="frame", desc="bank")
    ]
    stream = Stream(tracker, level.fps, level.size)
    scores = {0: segment(tracker, None)}
    tell(scores)
    for index in tqdm(islice(there_and_back(len(bank)), windows), total=windows, unit="window", desc="drift"):
        stream.pass_by(bank[index])
        if stream.frames in (*CHECKS, windows):
            scores[stream.frames] = segment(tracker, stream.state)
            tell(scores)


def segment(tracker: OnlineTracker, state: TrackerState | None) -> dict[str, float]:
    """What the tracker scores on the test segment when each of its videos goes on from `state`."""
    results = []
    for video in open_videos(SEGMENT):
        start = None if state is None else tracker.after_break(state, "keep", -1 / video.fps)
        answers: list[FrameTracks] = list(tracker.track_video(video.frames(), video.fps, state=start))
        tubes = predicted_tubes(answers, video.length, video.size)
        results.append(VideoResult(video.ground_truth(), tubes, video.labels))
    judged = judge(results)
    return {key: round(judged[key], 4) for key in COLUMNS}


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the endless camera (%(default)s)")
    parser.add_argument(
        "--drift", type=int, default=0, metavar="WINDOWS", help="100000 for the figure that is kept"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    share_heaps()  # before there are threads, as a server does
    torch.set_num_threads(1)
    tracker = load_tracker(
        arguments.model, device="cpu", engine=arguments.engine, precision=arguments.precision
    )
    result: dict[str, Any] = {"model": arguments.model, "engine": str(tracker.runtime.info)}

    def keep(part: str, figures: Any) -> None:
        result[part] = figures
        if arguments.json is not None:
            write_result(arguments.json, result)

    if arguments.frames:
        endless(tracker, arguments.frames, partial(keep, "endless"))
        print(tabulate(result["endless"], headers="keys"))
    if arguments.drift:
        drift(tracker, arguments.drift, partial(keep, "drift"))
        print(tabulate([{"windows": n, **row} for n, row in result["drift"].items()], headers="keys"))


if __name__ == "__main__":
    main()
