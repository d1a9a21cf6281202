"""The videos that an evaluation runs on, named by a SPEC.

Owns the grammar of SPEC and one face for rendered and stored videos. Frames are handed out one by one, so
that a video is never in memory as a whole. Knows no tracker and no metric.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from syncvis_online.data.synthetic import LevelConfig, SyntheticWorld, load_level
from syncvis_online.data.youtube_vis import GroundTruthTube, LabelledVideo, read_youtube_vis
from syncvis_online.errors import ConfigError
from syncvis_online.evaluation.pasted_videos import pasted_videos
from syncvis_online.types import LABELS, RLE, Image, encode_mask

SPEC_HELP = (
    "a YouTube-VIS JSON file, synthetic:LEVEL?seeds=A-B&frames=N[&fps=F], or "
    "pasted:FOLDER?seeds=A-B&frames=N[&split=train]"
)
DEFAULT_FRAMES = 80
HELD_OUT = {"long": ("9500-9509", 1200), "endless": ("9700", 12_000)}
"""Seeds and frames that are meant by a level alone, of the levels that are benchmarks of their own."""
YOUTUBE_VIS_FPS = 6.0
"""Where the JSON names no frame rate: YouTube-VIS annotates every fifth frame of video at 30 a second."""


class EvaluationVideo(Protocol):
    """One video with its ground truth. `size` is (height, width) in pixels; `length` counts frames."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def length(self) -> int: ...

    @property
    def fps(self) -> float: ...

    @property
    def labels(self) -> frozenset[str]:
        """The classes that the ground truth annotates."""
        ...

    def frames(self) -> Iterator[Image]:
        """The pictures in order, (H, W, 3) uint8 RGB."""
        ...

    def ground_truth(self) -> tuple[GroundTruthTube, ...]:
        """The tubes. Raises RuntimeError before all frames were taken, where they are rendered on the way."""
        ...


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video of a YouTube-VIS JSON as an EvaluationVideo."""

    video: LabelledVideo

    @property
    def name(self) -> str:
        return self.video.name

    @property
    def size(self) -> tuple[int, int]:
        return self.video.size

    @property
    def length(self) -> int:
        return len(self.video.files)

    @property
    def fps(self) -> float:
        return self.video.fps or YOUTUBE_VIS_FPS

    @property
    def labels(self) -> frozenset[str]:
        return self.video.labels

    def frames(self) -> Iterator[Image]:
        return self.video.frames()

    def ground_truth(self) -> tuple[GroundTruthTube, ...]:
        return self.video.ground_truth


@dataclass(slots=True)
class RenderedVideo:
    """The first `length` frames of a synthetic world; its ground truth is noted while they are rendered."""

    level: LevelConfig
    seed: int
    length: int
    _masks: dict[int, dict[int, RLE]] = field(default_factory=dict, init=False, repr=False)
    _kinds: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    _complete: bool = field(default=False, init=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.level.name}-{self.seed}"

    @property
    def size(self) -> tuple[int, int]:
        return self.level.size

    @property
    def fps(self) -> float:
        return self.level.fps

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(LABELS)

    def frames(self) -> Iterator[Image]:
        masks: dict[int, dict[int, RLE]] = defaultdict(dict)
        self._masks, self._complete = masks, False
        world = SyntheticWorld(self.level, self.seed)
        for t in range(self.length):
            frame = world.step()
            for each in frame.objects:
                if each.mask.any():
                    self._kinds[each.track_id] = each.label
                    masks[each.track_id][t] = encode_mask(each.mask)
            # Before the last frame goes out: nobody is obliged to ask for one more.
            self._complete = t == self.length - 1
            yield frame.image

    def ground_truth(self) -> tuple[GroundTruthTube, ...]:
        if not self._complete:
            raise RuntimeError(f"{self.name}: the ground truth is known when all frames are rendered")
        return tuple(
            GroundTruthTube(i, self._kinds[i], tuple(by_frame.get(t) for t in range(self.length)))
            for i, by_frame in sorted(self._masks.items())
        )


def open_videos(spec: str) -> tuple[EvaluationVideo, ...]:
    """The videos that SPEC names: `synthetic:LEVEL?seeds=A-B&frames=N`, `pasted:FOLDER?seeds=A-B&frames=N` (of the
    photographs in FOLDER that are held out of training; with `split=train` of those that are not), or the path of a
    YouTube-VIS JSON.

    `seeds` is one number or a range with both ends in it, `frames` (of each video) is 80 when left out, `fps` of a
    synthetic camera the level's.
    `synthetic:long` and `synthetic:endless` by themselves mean the seeds and frames that are held out for them.
    Raises ConfigError saying what is wrong with SPEC, DataError for a file that is missing or damaged.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "synthetic" and colon:
        return _synthetic(spec, rest)
    if kind == "pasted" and colon:
        folder, _, query = rest.partition("?")
        options = _options(spec, query, ("frames", "seeds", "split"))
        seeds, frames = _seeds_and_frames(spec, options, "", DEFAULT_FRAMES)
        split = options.get("split", "heldout")
        if split not in ("heldout", "train"):
            raise ConfigError(f"'{spec}': split must be heldout or train, not '{split}'")
        return pasted_videos(Path(folder), seeds, frames, "train" if split == "train" else "heldout")
    if not Path(spec).exists():
        raise ConfigError(f"'{spec}' names no data: no such file (SPEC is {SPEC_HELP})")
    return tuple(StoredVideo(video) for video in read_youtube_vis(Path(spec)))


def _synthetic(spec: str, rest: str) -> tuple[EvaluationVideo, ...]:
    name, _, query = rest.partition("?")
    options = _options(spec, query, ("fps", "frames", "seeds"))
    seeds, frames = _seeds_and_frames(spec, options, *HELD_OUT.get(name, ("", DEFAULT_FRAMES)))
    level = load_level(name)
    if "fps" in options:
        if not re.fullmatch(r"\d+(\.\d+)?", options["fps"], re.ASCII) or not 0 < float(options["fps"]) <= 240:
            raise ConfigError(f"'{spec}': fps must be a number in (0, 240], not '{options['fps']}'")
        level = replace(level, fps=float(options["fps"]))
    return tuple(RenderedVideo(level, seed, frames) for seed in seeds)


def _options(spec: str, query: str, known: tuple[str, ...]) -> dict[str, str]:
    """What stands behind the question mark. Raises ConfigError for what is not known."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConfigError(f"'{spec}': '{query}' is not of the form seeds=A-B&frames=N") from None
    options = dict(pairs)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"'{spec}': unknown option '{unknown[0]}' (there are: {', '.join(known)})")
    if len(options) < len(pairs):
        raise ConfigError(f"'{spec}': an option is given twice")
    return options


def _seeds_and_frames(spec: str, options: Mapping[str, str], held_out: str, length: int) -> tuple[range, int]:
    """What `seeds=A-B&frames=N` says, or what is meant where it does not. Raises ConfigError."""
    seeds = re.fullmatch(r"(\d+)(?:-(\d+))?", options.get("seeds", held_out), re.ASCII)
    if seeds is None:
        raise ConfigError(f"'{spec}': needs seeds=A or seeds=A-B with whole numbers, e.g. seeds=1000-1019")
    first, last = int(seeds[1]), int(seeds[2] or seeds[1])
    if last < first:
        raise ConfigError(f"'{spec}': seeds={first}-{last} is an empty range")
    frames = options.get("frames", str(length))
    if not re.fullmatch(r"\d+", frames, re.ASCII) or int(frames) < 1:
        raise ConfigError(f"'{spec}': frames must be a whole number of at least 1, not '{frames}'")
    return range(first, last + 1), int(frames)
