"""Clips cut out of labelled videos that lie on disk as pictures: YouTube-VIS, OVIS, DAVIS.

Owns the choice of frames and the way from tubes to label maps. Where videos are listed, and what is made of a clip,
is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from syncvis_online.data.clips import Clip, clip_from_layers
from syncvis_online.data.youtube_vis import LabelledVideo
from syncvis_online.errors import DataError
from syncvis_online.types import decode_mask


class LabelledClips:
    """Random clips of videos, all equally likely. Raises DataError when there is none to train on."""

    def __init__(self, videos: Sequence[LabelledVideo], labels: Sequence[str], where: str) -> None:
        known = set(labels)
        self._videos = [v for v in videos if any(t.label in known and not t.crowd for t in v.ground_truth)]
        self._labels = {label: i for i, label in enumerate(labels)}
        if not self._videos:
            raise DataError(f"{where}: no video in it shows an object of the model's classes")

    def __len__(self) -> int:
        return len(self._videos)

    def clip(self, rng: np.random.Generator, frames: int, spacing: int) -> Clip:
        """Frames of one video `spacing` apart, closer where it is short, and repeated where it is shorter still.

        Crowds and classes that the model has not are ignored regions.
        """
        video = self._videos[int(rng.integers(len(self._videos)))]
        total = len(video.files)
        spacing = max(1, min(spacing, (total - 1) // max(frames - 1, 1)))
        start = int(rng.integers(max(1, total - (frames - 1) * spacing)))
        index = np.minimum(start + spacing * np.arange(frames), total - 1)
        if rng.random() < 0.5:
            index = index[::-1]
        files = tuple(video.files[t] for t in index)
        images = np.stack(list(replace(video, files=files).frames()))
        layers = np.zeros((frames, *video.size), dtype=np.int16)
        wanted = [tube for tube in video.ground_truth if tube.label in self._labels and not tube.crowd]
        for tube in video.ground_truth:
            number = wanted.index(tube) + 1 if tube in wanted else -1
            for place, t in enumerate(index):
                mask = tube.masks[t]
                if mask is not None:
                    layers[place][decode_mask(mask)] = number
        names = np.array([self._labels[tube.label] for tube in wanted], dtype=np.int64)
        labelled = frozenset(self._labels[name] for name in video.labels if name in self._labels)
        return clip_from_layers(images, layers, names, labelled)
