"""The nouns of the model side: what a tracker says about one frame.

Owns the run-length form of a mask, because every result carries one. Knows nothing about cameras, sockets or
how a mask was predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

TrackState = Literal["confirmed", "lost"]
Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]

LABELS = ("person", "bicycle", "car", "truck", "dog", "bird")
"""Classes of the checkpoint that ships, in the order of its class logits."""


class RLE(TypedDict):
    """COCO compressed run-length encoding of one mask.

    `size` is [height, width] in pixels; `counts` is pycocotools' ASCII string (column-major runs).
    """

    size: list[int]
    counts: str


def encode_mask(mask: Mask) -> RLE:
    """Encode a boolean mask, shape (H, W), as COCO compressed RLE."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.bool_).view(np.uint8))
    return {"size": [int(s) for s in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_mask(rle: RLE) -> Mask:
    """Decode a COCO compressed RLE to a boolean array of shape (H, W)."""
    decoded: Mask = coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}) > 0
    return decoded


def box_of_mask(mask: Mask) -> tuple[float, float, float, float]:
    """The tight box (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; zeros when the mask is empty."""
    xs = np.flatnonzero(mask.any(axis=0))
    if not xs.size:
        return (0.0, 0.0, 0.0, 0.0)
    ys = np.flatnonzero(mask[:, xs[0] : xs[-1] + 1].any(axis=1))
    return (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))


@dataclass(frozen=True, slots=True)
class Track:
    """One object on one frame.

    `track_id` is never given twice on a camera; `score` is in [0, 1]; `mask` has the size of the camera's
    picture; `box_xyxy` is in pixels of that picture, right and bottom edges exclusive. `age_s`: seconds since it was
    first seen. `state`: "confirmed" was seen on this frame; "lost" was not, and coasts: its mask is empty, its box,
    label and score are those of when it was last seen.
    """

    track_id: int
    label: str
    score: float
    mask: RLE
    box_xyxy: tuple[float, float, float, float]
    age_s: float = 0.0
    state: TrackState = "confirmed"

    @property
    def seen(self) -> bool:
        """Whether it was seen on this frame."""
        return self.state == "confirmed"


@dataclass(frozen=True, slots=True)
class FrameTracks:
    """All that the tracker says about one frame. `frame_index` counts the frames of the stream from 0."""

    frame_index: int
    tracks: tuple[Track, ...] = field(default=())
