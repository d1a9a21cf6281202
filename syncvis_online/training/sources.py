"""Where a run's clips come from: one source for each entry of `data.sources`, behind one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from syncvis_online.data.clips import Clip, random_crop, resize
from syncvis_online.data.clips_photometric import photometric_jitter
from syncvis_online.data.davis import read_davis
from syncvis_online.data.labelled_clips import LabelledClips
from syncvis_online.data.pasted import pasted_clip, photo_clip
from syncvis_online.data.pasted_cutouts import CutoutBank
from syncvis_online.data.photographs import Photograph, PhotographSet
from syncvis_online.data.youtube_vis import read_youtube_vis
from syncvis_online.training.config import (
    DavisSource,
    PhotographSource,
    SourceConfig,
    SyntheticSource,
    TrainingConfig,
    YouTubeVISSource,
)
from syncvis_online.training.rendered import RenderedVideos

Size = tuple[int, int]
IN_MEMORY = 1000
"""Photographs that are kept decoded; of larger sets each is read when it is drawn, and so many give cut-outs."""


class ClipSource(Protocol):
    """Gives random clips. `rng` decides everything: the same generator gives the same clip."""

    def clip(self, rng: np.random.Generator, frames: int, spacing: int, size: Size) -> Clip:
        """A clip of `frames` frames of `size` (height, width); `spacing` apart where the source has a pace."""
        ...


class _Synthetic:
    def __init__(self, config: SyntheticSource, size: Size, *, progress: bool) -> None:
        self._config = config
        seeds = range(config.seeds[0], config.seeds[1] + 1)
        self._videos = RenderedVideos(
            config.level,
            seeds,
            config.frames,
            size,
            Path(config.cache),
            fps=config.fps,
            processes=len(os.sched_getaffinity(0)),
            progress=progress,
        )

    def clip(self, rng: np.random.Generator, frames: int, spacing: int, size: Size) -> Clip:
        clip = self._videos.clip(rng, frames, spacing)
        if rng.random() < self._config.crop_odds:
            clip = random_crop(clip, size, rng, min_share=self._config.crop_share)
        else:
            clip = resize(clip, size)
        return photometric_jitter(clip, rng, strength=self._config.photometric)


class _Photographs:
    """Photographs as clips with slight motion, or cut-outs of them on paths over others of them."""

    def __init__(self, config: PhotographSource, photographs: Sequence[Photograph] | PhotographSet) -> None:
        self._config, self._photographs = config, photographs
        self._cutouts = None
        if config.kind == "pasted":
            step = -(-len(photographs) // IN_MEMORY)
            self._cutouts = CutoutBank.of([photographs[i] for i in range(0, len(photographs), step)])

    def clip(self, rng: np.random.Generator, frames: int, spacing: int, size: Size) -> Clip:
        if self._cutouts is None:
            photo = self._photographs[int(rng.integers(len(self._photographs)))]
            clip = photo_clip(photo, frames, size, rng, motion=float(rng.uniform(*self._config.motion)))
        else:
            objects = self._config.objects
            clip = pasted_clip(self._photographs, self._cutouts, frames, size, rng, objects=objects)
        return photometric_jitter(clip, rng, strength=self._config.photometric)


class _Labelled:
    def __init__(self, config: YouTubeVISSource | DavisSource, clips: LabelledClips) -> None:
        self._config, self._clips = config, clips

    def clip(self, rng: np.random.Generator, frames: int, spacing: int, size: Size) -> Clip:
        clip = self._clips.clip(rng, frames, spacing)
        clip = random_crop(clip, size, rng, min_share=self._config.crop_share)
        return photometric_jitter(clip, rng, strength=self._config.photometric)


def open_sources(config: TrainingConfig, *, progress: bool) -> dict[str, ClipSource]:
    """The sources that some stage draws from, by name.

    Raises DataError, naming file and entry, for whatever is missing or damaged: before training starts.
    """
    used = {name for stage in config.stages for name, share in stage.shares.items() if share > 0}
    photographs: dict[str, list[Photograph] | PhotographSet] = {}
    return {
        name: _open(name, config.data.sources[name], config, photographs, progress=progress)
        for name in config.data.sources
        if name in used
    }


def _open(
    name: str,
    source: SourceConfig,
    config: TrainingConfig,
    photographs: dict[str, list[Photograph] | PhotographSet],
    *,
    progress: bool,
) -> ClipSource:
    labels = config.model.labels
    if isinstance(source, SyntheticSource):
        return _Synthetic(source, config.data.size, progress=progress)
    if isinstance(source, PhotographSource):
        key = repr(replace(source, kind="photographs"))  # both kinds may show the same ones
        if key not in photographs:
            read = PhotographSet(
                Path(source.folder),
                source.split,
                annotations=source.annotations,
                images=source.images,
                labels=labels,
                classes=source.classes,
            )
            photographs[key] = list(read) if len(read) <= IN_MEMORY else read
        return _Photographs(source, photographs[key])
    if isinstance(source, YouTubeVISSource):
        path = Path(source.annotations)
        videos = read_youtube_vis(path, Path(source.images) if source.images else None)
        return _Labelled(source, LabelledClips(videos, labels, str(path)))
    assert isinstance(source, DavisSource)
    sequences = Path(source.sequences) if source.sequences else None
    read_videos = read_davis(Path(source.folder), sequences, source.label)
    return _Labelled(source, LabelledClips(read_videos, labels, f"{source.folder} ({name})"))
