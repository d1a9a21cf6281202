"""What a camera leaves out of all that it says: classes that nobody wants of it, and regions to ignore.

Applied once, before a frame is published: pictures, streams, events and metrics then agree. Owns the geometry of
regions; does not know who reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from pycocotools import mask as coco_mask

from stream.types import TrackedFrame
from syncvis_online.types import Track

Polygon = Sequence[tuple[float, float]]
"""Corners (x, y) as shares of the picture's width and height, 0 to 1."""


class TrackFilter:
    """`labels`: the classes that are kept, empty for all. `ignore`: a track is left out where more than half of what is
    seen of it, or of its box while it is lost, lies inside these polygons together. `min_score`: what is less confident
    is left out.
    """

    def __init__(
        self, labels: Collection[str] = (), ignore: Sequence[Polygon] = (), min_score: float = 0.0
    ) -> None:
        self._labels = frozenset(labels)
        self._min_score = min_score
        self._ignore = ignore
        self._region: tuple[tuple[int, int], Any] | None = None

    def of(self, frame: TrackedFrame) -> TrackedFrame:
        """The frame with the tracks that are kept."""
        if not self._labels and not self._ignore and not self._min_score:
            return frame
        tracks = [
            track
            for track in frame.tracks
            if track.score >= self._min_score and (not self._labels or track.label in self._labels)
        ]
        if self._ignore and tracks:
            height, width = frame.image.shape[:2]
            tracks = self._outside(tracks, height, width)
        return replace(frame, tracks=tuple(tracks))

    def _outside(self, tracks: list[Track], height: int, width: int) -> list[Track]:
        extents = [_extent(track, height, width) for track in tracks]
        # With a "crowd" as ground truth, COCO's overlap is the intersection's share of the detection.
        inside = coco_mask.iou(extents, [self._of_size(height, width)], [1])[:, 0]
        return [track for track, share in zip(tracks, inside, strict=True) if not share > 0.5]

    def _of_size(self, height: int, width: int) -> Any:
        """The union of the polygons on a picture of that size, as RLE; made once for each size."""
        if self._region is None or self._region[0] != (height, width):
            corners = [[c for x, y in polygon for c in (x * width, y * height)] for polygon in self._ignore]
            region = coco_mask.merge(coco_mask.frPyObjects(corners, height, width))
            self._region = ((height, width), region)
        return self._region[1]


def _extent(track: Track, height: int, width: int) -> Any:
    """Where a track is, as RLE: its mask, and its box while it is lost."""
    if track.seen:
        return {"size": track.mask["size"], "counts": track.mask["counts"].encode("ascii")}
    left, top, right, bottom = track.box_xyxy
    corners = [left, top, right, top, right, bottom, left, bottom]
    return coco_mask.frPyObjects([corners], height, width)[0]
