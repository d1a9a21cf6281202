"""Tracks as YouTube-VIS JSON: each track is an annotation with a mask for each frame, or null.

Owns the form. Everything is kept until the end, about as much as its masks' run lengths: it is for clips, and JSON
lines for cameras that go on for days.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from stream.commands.outputs import PartialFile, writing
from stream.errors import SyncVISError
from stream.types import TrackedFrame
from syncvis_online.types import RLE, Track


@dataclass
class _Tube:
    """What was seen of one track, by the frame's place in its video."""

    masks: dict[int, RLE] = field(default_factory=dict)
    boxes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    labels: dict[str, float] = field(default_factory=dict)

    def add(self, place: int, track: Track) -> None:
        self.masks[place], self.boxes[place] = track.mask, track.box_xyxy
        self.scores.append(track.score)
        self.labels[track.label] = self.labels.get(track.label, 0.0) + track.score

    @property
    def label(self) -> str:
        """The class with the most confidence over all frames."""
        return max(self.labels, key=lambda label: self.labels[label])


@dataclass
class _Video:
    """Frames of one size, in a row."""

    name: str
    size: tuple[int, int]
    seqs: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    tubes: dict[int, _Tube] = field(default_factory=dict)

    def add(self, frame: TrackedFrame) -> None:
        place = len(self.seqs)
        self.seqs.append(frame.seq)
        self.times_s.append(frame.captured_at_s)
        for track in frame.tracks:
            if track.seen:
                self.tubes.setdefault(track.track_id, _Tube()).add(place, track)

    def entry(self, video_id: int) -> dict[str, Any]:
        height, width = self.size
        elapsed_s = self.times_s[-1] - self.times_s[0]
        return {
            "id": video_id,
            "name": self.name,
            "height": height,
            "width": width,
            "length": len(self.seqs),
            "fps": round((len(self.seqs) - 1) / elapsed_s, 3) if elapsed_s > 0 else None,
            "file_names": [f"{self.name}/{seq:08d}.jpg" for seq in self.seqs],
        }


class YoutubeVisFile:
    """One JSON document of videos, categories and annotations; a change of the picture's size begins another video.

    An annotation's `id` is the track's (another one where a second video has that track too; `track_id` is always the
    track's), its class the one with the most confidence over all frames, its `score` the mean.
    """

    def __init__(self, target: Path) -> None:
        self._part = PartialFile(target)
        self._videos: list[_Video] = []
        self._closed = False

    def write(self, frame: TrackedFrame) -> None:
        """Add one frame."""
        size = (frame.image.shape[0], frame.image.shape[1])
        if not self._videos or self._videos[-1].size != size:
            number = len(self._videos) + 1
            self._videos.append(_Video(frame.camera if number == 1 else f"{frame.camera}-{number}", size))
        self._videos[-1].add(frame)

    def close(self, *, keep: bool) -> None:
        """See `Output`."""
        if self._closed:
            return
        self._closed = True
        try:
            if keep:
                with writing(self._part.target), self._part.path.open("w", encoding="utf-8") as file:
                    json.dump(self.document(), file, separators=(",", ":"))
        except SyncVISError:
            self._part.close(keep=False)
            raise
        self._part.close(keep=keep)

    def document(self) -> dict[str, Any]:
        """All of it."""
        tubes = [
            (video_id, len(video.seqs), track_id, tube)
            for video_id, video in enumerate(self._videos, 1)
            for track_id, tube in video.tubes.items()
        ]
        labels = list(dict.fromkeys(tube.label for *_, tube in tubes))
        annotations: list[dict[str, Any]] = []
        free = max((track_id for _, _, track_id, _ in tubes), default=0) + 1
        given: set[int] = set()
        for video_id, length, track_id, tube in tubes:
            own_id = track_id
            if own_id in given:
                own_id, free = free, free + 1
            given.add(own_id)
            entry = {"id": own_id, "track_id": track_id, "video_id": video_id}
            annotations.append(entry | _annotation(tube, length, labels))
        return {
            "info": {"description": "tracks of syncvis-online", "version": "1"},
            "videos": [video.entry(video_id) for video_id, video in enumerate(self._videos, 1)],
            "categories": [{"id": i, "name": label} for i, label in enumerate(labels, 1)],
            "annotations": annotations,
        }


def _annotation(tube: _Tube, length: int, labels: list[str]) -> dict[str, Any]:
    areas = {place: _area(mask) for place, mask in tube.masks.items()}
    boxes = {place: [x0, y0, x1 - x0, y1 - y0] for place, (x0, y0, x1, y1) in tube.boxes.items()}
    return {
        "category_id": labels.index(tube.label) + 1,
        "score": sum(tube.scores) / len(tube.scores),
        "iscrowd": 0,
        "segmentations": [tube.masks.get(place) for place in range(length)],
        "bboxes": [boxes.get(place) for place in range(length)],
        "areas": [areas.get(place) for place in range(length)],
    }


def _area(mask: RLE) -> int:
    return int(coco_mask.area({"size": mask["size"], "counts": mask["counts"].encode("ascii")}))
