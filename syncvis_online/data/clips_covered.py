"""Instances that go out of sight and come back: boards in front of them for some frames of a clip.

A tracker that is trained on clips in which everything stays in sight never learns to wait for what it has lost.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.clips import MIN_VISIBLE_PX, Clip, clip_from_layers

MAX_BOARDS = 3
MAX_SHARE = 0.15
"""Of the picture, that one board may cover: more would hide the scene and not an object."""


def cover(clip: Clip, rng: np.random.Generator) -> Clip:
    """Put one to three boards in front of instances, each for some frames that begin after the first one.

    A board hides one instance, and whatever else is behind it, over the whole way that it goes meanwhile; two
    thirds of them go away before the clip ends. Clips of fewer than three frames are returned as they are, and so
    are those whose instances are all too large to hide. Boards are background: smooth colours of the picture itself.
    """
    frames, height, width = clip.ignore.shape
    if frames < 3:
        return clip
    images = clip.images.copy()
    masks, ignore = clip.masks.copy(), clip.ignore.copy()
    chosen = rng.permutation(len(clip.labels))[: int(rng.integers(1, MAX_BOARDS + 1))]
    for i in chosen:
        first = int(rng.integers(1, frames - 1))
        end = int(rng.integers(first + 1, frames)) if rng.random() < 2 / 3 else frames
        board = _board(clip.masks[i, first:end], rng)
        if board is None:
            continue
        rows, columns = board
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        if share > MAX_SHARE:
            continue
        images[first:end, rows, columns] = _surface(clip.images[first], rows, columns, rng)
        masks[:, first:end, rows, columns] = False
        ignore[first:end, rows, columns] = False
    layers = np.where(ignore, -1, 0).astype(np.int16)
    for i, mask in enumerate(masks):
        layers[mask] = i + 1
    return clip_from_layers(images, layers, clip.labels, clip.labelled)


def _board(masks: NDArray[np.bool_], rng: np.random.Generator) -> tuple[slice, slice] | None:
    """A rectangle that hides all of `masks` (T, H, W), a little larger; None when nothing is there to hide."""
    way = masks.any(axis=0)
    if np.count_nonzero(way) < MIN_VISIBLE_PX:
        return None
    rows, columns = np.flatnonzero(way.max(axis=1)), np.flatnonzero(way.max(axis=0))
    return _widened(rows, way.shape[0], rng), _widened(columns, way.shape[1], rng)


def _widened(places: NDArray[np.intp], side: int, rng: np.random.Generator) -> slice:
    """From the first of `places` to the last, and up to 30 % of that more on either end, within [0, side)."""
    first, last = int(places[0]), int(places[-1])
    margins = 1 + (last - first) * rng.uniform(0.0, 0.3, size=2)
    return slice(max(0, int(first - margins[0])), min(side, int(last + 1 + margins[1])))


def _surface(
    image: NDArray[np.uint8], rows: slice, columns: slice, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Colours of another part of the picture, shrunk to a few cells and spread again, with a camera's noise."""
    size = (columns.stop - columns.start, rows.stop - rows.start)
    y = int(rng.integers(image.shape[0] - size[1] + 1))
    x = int(rng.integers(image.shape[1] - size[0] + 1))
    patch = np.ascontiguousarray(image[y : y + size[1], x : x + size[0]])
    cells = cv2.resize(
        patch, (int(rng.integers(1, 4)), int(rng.integers(1, 4))), interpolation=cv2.INTER_AREA
    )
    spread = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    noisy = spread + rng.normal(0.0, 3.0, size=spread.shape)
    surface: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return surface
