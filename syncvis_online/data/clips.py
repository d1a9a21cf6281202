"""The common training sample, a short labelled video, and changes of its geometry by clip.

Every change draws from the generator that it is given and treats all frames of a clip alike, so identities
and motion stay true. Where clips come from, and what a loss makes of them, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.types import LABELS

MIN_VISIBLE_PX = 12
"""Fewer visible pixels of an instance on a frame than this are ignored, neither instance nor background."""
ALL_LABELS = frozenset(range(len(LABELS)))


@dataclass(frozen=True, slots=True)
class Clip:
    """A short video for training.

    `images` (T, H, W, 3) uint8 RGB; `masks` (I, T, H, W) bool: the visible pixels of each instance, all False
    where it is absent; `labels` (I,) int64 indices of LABELS; `ignore` (T, H, W) bool: pixels whose loss is
    not counted. No pixel is of two instances, or of an instance and ignored. `labelled` holds the indices of
    the LABELS of which every visible object is in `masks`: of the others, objects may be seen that are not.
    """

    images: NDArray[np.uint8] = field(repr=False)
    masks: NDArray[np.bool_] = field(repr=False)
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_] = field(repr=False)
    labelled: frozenset[int] = ALL_LABELS


def clip_from_layers(
    images: NDArray[np.uint8],
    layers: NDArray[np.int16],
    labels: NDArray[np.int64],
    labelled: frozenset[int] = ALL_LABELS,
) -> Clip:
    """A clip of pictures and their label maps.

    `layers` (T, H, W): 0 background, i + 1 the visible pixels of the instance with `labels[i]`, -1 ignored.
    Slivers under MIN_VISIBLE_PX are ignored on their frame; instances that are never seen are left out.
    """
    masks = layers[None] == np.arange(1, len(labels) + 1, dtype=np.int16)[:, None, None, None]
    area = masks.sum(axis=(2, 3))
    slivers = (area > 0) & (area < MIN_VISIBLE_PX)
    ignore = layers == -1
    for i, t in np.argwhere(slivers):
        ignore[t] |= masks[i, t]
        masks[i, t] = False
    seen = (area >= MIN_VISIBLE_PX).any(axis=1)
    return Clip(images, masks[seen], labels[seen], ignore, labelled)


def layers_of(masks: NDArray[np.bool_], ignore: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The label map (H, W) of masks (I, H, W): i + 1 for instance i, -1 ignored; smaller instances on top."""
    layers = np.zeros(ignore.shape, dtype=np.int16)
    layers[ignore] = -1
    for i in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        layers[masks[i]] = i + 1
    return layers


def flip(clip: Clip) -> Clip:
    """Mirror left and right."""
    return Clip(
        np.ascontiguousarray(clip.images[:, :, ::-1]),
        np.ascontiguousarray(clip.masks[..., ::-1]),
        clip.labels,
        np.ascontiguousarray(clip.ignore[..., ::-1]),
        clip.labelled,
    )


def random_crop(
    clip: Clip,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    min_share: float = 0.4,
    stretch: float = 1.2,
) -> Clip:
    """Cut one window out of all frames and scale it to `size` (height, width), mirrored half the time.

    The window's sides are `min_share` to 1 of the largest window of that aspect, itself stretched by up to
    `stretch` either way. It never leaves the picture. Raises ValueError when `min_share` is not in (0, 1].
    """
    if not 0 < min_share <= 1:
        raise ValueError(f"min_share must be in (0, 1], not {min_share}")
    height, width = clip.ignore.shape[1:]
    aspect = size[1] / size[0] * float(np.exp(rng.uniform(-1, 1) * np.log(stretch)))
    share = float(rng.uniform(min_share, 1))
    w = max(1, round(min(width, height * aspect) * share))
    h = max(1, round(min(height, width / aspect) * share))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    window = (slice(y, y + h), slice(x, x + w))
    resized = resize(
        Clip(
            clip.images[:, window[0], window[1]],
            clip.masks[:, :, window[0], window[1]],
            clip.labels,
            clip.ignore[:, window[0], window[1]],
            clip.labelled,
        ),
        size,
    )
    return flip(resized) if rng.random() < 0.5 else resized


def resize(clip: Clip, size: tuple[int, int]) -> Clip:
    """Scale all frames to `size` (height, width): pictures by area, label maps by nearest neighbour."""
    shape = (size[1], size[0])
    shrinks = size[0] < clip.images.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = [cv2.resize(np.ascontiguousarray(image), shape, interpolation=how) for image in clip.images]
    maps = [
        cv2.resize(layers_of(clip.masks[:, t], clip.ignore[t]), shape, interpolation=cv2.INTER_NEAREST_EXACT)
        for t in range(len(clip.images))
    ]
    return clip_from_layers(
        np.asarray(resized, dtype=np.uint8), np.asarray(maps, dtype=np.int16), clip.labels, clip.labelled
    )
