"""Writes the ground truth of synthetic videos in the JSON format of YouTube-VIS 2019."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from syncvis_online.data.synthetic.level import LevelConfig
from syncvis_online.data.synthetic.world import SyntheticFrame, render_video
from syncvis_online.types import LABELS, Image, box_of_mask, encode_mask

_JPEG_QUALITY = 92


def write_youtube_vis(
    path: Path,
    level: LevelConfig,
    seeds: Iterable[int],
    frames: int,
    *,
    images: Path | None = None,
    extension: str = "jpg",
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Write one JSON file for the first `frames` frames of the worlds of `seeds`.

    `videos` name their frames relative to `images`; the pictures are written there (`extension` "jpg" or
    "png") when `images` is given. `annotations` hold, for every frame, a compressed RLE, a box [x, y, width,
    height] and an area in pixels, or None where the object cannot be seen. Categories are 1..6 in the order
    of LABELS. The JSON appears under its name only when it is complete. Raises OSError when a file cannot be
    written.
    """
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for seed in seeds:
        video_id = len(videos) + 1
        tracks: dict[int, dict[str, Any]] = {}
        names = []
        shape = (0, 0)
        for frame in render_video(level, seed, frames, fps=fps, size=size):
            shape = frame.image.shape[:2]
            names.append(f"{level.name}_{seed:06d}/{frame.index:05d}.{extension}")
            _collect(tracks, frame, frames, video_id)
            if images is not None:
                _write_image(images / names[-1], frame.image)
        videos.append(
            {"id": video_id, "height": shape[0], "width": shape[1], "length": frames, "file_names": names}
        )
        for track in tracks.values():
            annotations.append({"id": len(annotations) + 1, **track})
    categories = [
        {"id": k, "name": label, "supercategory": "object"} for k, label in enumerate(LABELS, start=1)
    ]
    info = {"description": f"synthetic world, level {level.name}"}
    _write_json(path, {"info": info, "videos": videos, "annotations": annotations, "categories": categories})


def _collect(tracks: dict[int, dict[str, Any]], frame: SyntheticFrame, frames: int, video_id: int) -> None:
    height, width = frame.image.shape[:2]
    for item in frame.objects:
        track = tracks.setdefault(
            item.track_id,
            {
                "video_id": video_id,
                "category_id": LABELS.index(item.label) + 1,
                "iscrowd": 0,
                "height": height,
                "width": width,
                "segmentations": [None] * frames,
                "bboxes": [None] * frames,
                "areas": [None] * frames,
            },
        )
        x0, y0, x1, y1 = box_of_mask(item.mask)
        track["segmentations"][frame.index] = encode_mask(item.mask)
        track["bboxes"][frame.index] = [x0, y0, x1 - x0, y1 - y0]
        track["areas"][frame.index] = int(np.count_nonzero(item.mask))


def _write_image(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality):
        raise OSError(f"cannot write {path}")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
