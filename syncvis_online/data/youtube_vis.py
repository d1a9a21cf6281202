"""Labelled videos in the YouTube-VIS 2019 / 2021 JSON form, with their pictures in a folder.

Owns the checks: the whole file is checked when it is opened, so that a long run never stops half way at a bad
entry. Keys that the format has and nobody here needs (info, licenses, bboxes, areas) are not looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from syncvis_online.data.annotations import check_picture, checked_rle, read_json, require
from syncvis_online.errors import DataError
from syncvis_online.types import RLE, Image


@dataclass(frozen=True, slots=True)
class GroundTruthTube:
    """One object through one video: `masks` holds its visible pixels by frame, None where there are none.

    A crowd stands for many objects of its label: it is never missed, and what lies in it is never wrong.
    """

    track_id: int
    label: str
    masks: tuple[RLE | None, ...] = field(repr=False)
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """A video as a list of picture files. `size` is (height, width); `fps` is None where the file is silent.

    `labels` are the classes that the data set annotates at all.
    """

    name: str
    size: tuple[int, int]
    fps: float | None
    files: tuple[Path, ...] = field(repr=False)
    labels: frozenset[str]
    ground_truth: tuple[GroundTruthTube, ...] = field(repr=False)

    def frames(self) -> Iterator[Image]:
        """The pictures, (H, W, 3) uint8 RGB. Raises DataError when one is damaged or has another size."""
        for file in self.files:
            bgr = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if bgr is None:
                raise DataError(f"{file}: not a picture")
            if bgr.shape[:2] != self.size:
                raise DataError(f"{file}: is {bgr.shape[:2]}, annotated as (height, width) {self.size}")
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_youtube_vis(path: Path, images: Path | None = None) -> tuple[LabelledVideo, ...]:
    """All videos of a YouTube-VIS JSON, in its order.

    `images` is the folder that `file_names` start from; by default `JPEGImages` beside the JSON where there
    is one, else the folder of the JSON. Raises DataError naming file and entry for anything missing or wrong:
    keys, types, categories, video ids, numbers of masks, RLEs, picture files.
    """
    path = Path(path)
    document = read_json(path)
    folder = images or (path.parent / "JPEGImages" if (path.parent / "JPEGImages").is_dir() else path.parent)
    names: dict[int, str] = {}
    for i, category in enumerate(require(document, "categories", list, str(path))):
        where = f"{path}: category {i}"
        names[require(category, "id", int, where)] = require(category, "name", str, where)
    tubes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for i, annotation in enumerate(require(document, "annotations", list, str(path))):
        tubes[require(annotation, "video_id", int, f"{path}: annotation {i}")].append(annotation)
    videos = require(document, "videos", list, str(path))
    if not videos:
        raise DataError(f"{path}: lists no video")
    read = tuple(
        _read_video(video, tubes, names, folder, f"{path}: video {i}") for i, video in enumerate(videos)
    )
    if tubes:
        raise DataError(f"{path}: annotations of videos that are not listed: {sorted(tubes)[:5]}")
    return read


def _read_video(
    video: Any, tubes: dict[int, list[dict[str, Any]]], names: dict[int, str], folder: Path, where: str
) -> LabelledVideo:
    size = require(video, "height", int, where), require(video, "width", int, where)
    file_names = require(video, "file_names", list, where)
    if not file_names or not all(isinstance(name, str) for name in file_names):
        raise DataError(f"{where}: 'file_names' must be a list of names, not empty")
    files = tuple(folder / name for name in file_names)
    for file in files:
        check_picture(file, where)
    fps = float(require(video, "fps", (int, float), where)) if video.get("fps") is not None else None
    if fps is not None and fps <= 0:
        raise DataError(f"{where}: 'fps' must be positive, not {fps}")
    entries = tubes.pop(require(video, "id", int, where), [])
    ground_truth = tuple(_read_tube(entry, names, len(files), size, where) for entry in entries)
    name = str(video.get("name") or Path(file_names[0]).parent.name or video["id"])
    return LabelledVideo(name, size, fps, files, frozenset(names.values()), ground_truth)


def _read_tube(
    entry: dict[str, Any], names: dict[int, str], length: int, size: tuple[int, int], where: str
) -> GroundTruthTube:
    here = f"{where}, annotation {entry.get('id')}"
    track_id = require(entry, "id", int, here)
    category = require(entry, "category_id", int, here)
    if category not in names:
        raise DataError(f"{here}: unknown category_id {category}")
    segmentations = require(entry, "segmentations", list, here)
    if len(segmentations) != length:
        raise DataError(f"{here}: {len(segmentations)} masks for {length} frames")
    masks = tuple(
        None if segmentation is None else checked_rle(segmentation, *size, f"{here}, frame {t}")
        for t, segmentation in enumerate(segmentations)
    )
    return GroundTruthTube(track_id, names[category], masks, bool(entry.get("iscrowd", 0)))
