"""Pseudo-videos from photographs: one photograph under a moving camera, and cut-outs pasted over it on paths.

Owns the rendering. A background with labelled objects keeps them as instances and is never mirrored at its
edges: one identity on two bodies would teach the opposite of tracking. The recipe of pasted pseudo-videos is
that of SeqFormer and VITA, here with explicit paths (pasted_paths) so that identities outlive full occlusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.clips import Clip, clip_from_layers, layers_of
from syncvis_online.data.pasted_cutouts import Cutout, CutoutBank
from syncvis_online.data.pasted_paths import ObjectPath, companion_path, occluder_path, random_path
from syncvis_online.data.photographs import Photograph

Size = tuple[int, int]
_Layers = NDArray[np.int16]
MAX_ENLARGEMENT = 1.7
SLIGHT_MOTION = 0.012
"""Mean shift by frame, as a share of the width of the view, at `motion` 1."""


class Photographs(Protocol):
    """Any sequence of photographs, e.g. a PhotographSet."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Photograph: ...


def photo_clip(item: Photograph, T: int, size: Size, rng: np.random.Generator, motion: float = 1.0) -> Clip:
    """One photograph under a camera that pans, zooms and turns, as a clip of T frames of `size` (H, W).

    `motion` is relative: 0 stands still, 1 is slight (a mean shift of 1.2 % of the view's width a frame), 4
    is large; zoom and turn go with it. Two times of three the view may be larger than the photograph, which
    then has a plain border: a view inside it would cut heads or feet off most people.
    """
    images, layers = _moving_view(item, T, size, rng, motion)
    return clip_from_layers(images, layers, item.labels, item.labelled)


def pasted_clip(
    backgrounds: Photographs,
    cutouts: CutoutBank,
    T: int,
    size: Size,
    rng: np.random.Generator,
    *,
    objects: tuple[int, int] = (1, 5),
    motion: float = 1.0,
) -> Clip:
    """Cut-outs on paths over a photograph under a moving camera, as a clip of T frames of `size` (H, W).

    `objects` is the least and greatest number of paths drawn; a third of them bring an occluder or a
    look-alike along. Masks are the visible parts; an identity is kept through full occlusion and absence.
    """
    background = backgrounds[int(rng.integers(len(backgrounds)))]
    images, layers = _moving_view(background, T, size, rng, motion)
    cast = _cast(cutouts, T, rng, int(rng.integers(objects[0], objects[1] + 1)))
    first = len(background.labels) + 1
    for number, (cutout, path) in enumerate(cast, start=first):
        _paste(images, layers, _tinted(cutout, rng), path, number)
    labels = np.concatenate([background.labels, [cutout.label for cutout, _ in cast]]).astype(np.int64)
    return clip_from_layers(images, layers, labels, background.labelled)


def _cast(
    cutouts: CutoutBank, T: int, rng: np.random.Generator, count: int
) -> Sequence[tuple[Cutout, ObjectPath]]:
    """What is pasted, from back to front."""
    cast: list[tuple[Cutout, ObjectPath]] = []
    for cutout in cutouts.draw(count, rng):
        path = random_path(T, rng)
        cast.append((cutout, path))
        company = rng.random()
        if company < 0.2:
            cast.append((cutouts.draw(1, rng)[0], occluder_path(path, rng)))
        elif company < 0.35:
            cast.append((cutout, companion_path(path, rng)))
    return cast


def _moving_view(
    item: Photograph, T: int, size: Size, rng: np.random.Generator, motion: float
) -> tuple[NDArray[np.uint8], _Layers]:
    """Pictures (T, H, W, 3) and label maps (T, H, W) of a photograph under a moving camera."""
    out_h, out_w = size
    image, layers = item.image, layers_of(item.masks, item.ignore)
    stretch = float(np.exp(rng.uniform(-0.18, 0.18)))
    width = _view_width(image.shape[0], image.shape[1], out_w / out_h * stretch, rng)
    shrink = width / out_w
    if shrink > 1.3:
        # Warping samples 2 x 2 pixels: shrink first, or fine texture flickers as it never does in a video.
        shape = (max(1, round(image.shape[1] / shrink)), max(1, round(image.shape[0] / shrink)))
        width *= shape[0] / image.shape[1]
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        layers = cv2.resize(layers, shape, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int16, copy=False)
    if rng.random() < 0.5:
        image, layers = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(layers[:, ::-1])
    border = tuple(int(v) for v in (image.mean(axis=(0, 1)) * rng.uniform(0, 1)).round())
    images = np.empty((T, out_h, out_w, 3), dtype=np.uint8)
    maps = np.empty((T, out_h, out_w), dtype=np.int16)
    for t, matrix in enumerate(_camera(image.shape[:2], size, width, stretch, T, rng, motion)):
        images[t] = cv2.warpAffine(image, matrix, (out_w, out_h), borderValue=border)
        maps[t] = cv2.warpAffine(layers, matrix, (out_w, out_h), flags=cv2.INTER_NEAREST)
    return images, maps


def _view_width(height: int, width: int, aspect: float, rng: np.random.Generator) -> float:
    """Width of the view in pixels of the photograph: inside it, or up to all of it with a border."""
    cover, contain = sorted((float(width), height * aspect))
    if rng.random() < 0.35:
        return cover * float(rng.uniform(0.65, 1.0))
    return cover + (contain - cover) * float(rng.uniform(0.3, 1.0))


def _camera(
    photo: Size, size: Size, width: float, stretch: float, T: int, rng: np.random.Generator, motion: float
) -> list[NDArray[np.float64]]:
    """Matrices (2, 3) from the photograph to each frame; the view stays inside along every axis it fits."""
    motion *= SLIGHT_MOTION
    direction = rng.uniform(0, 2 * np.pi)
    speed = float(rng.exponential(1.0)) * motion
    jitter = rng.normal(0, 0.3 * motion, size=(T, 4))
    frame = np.arange(T) - (T - 1) / 2
    shift_x = (speed * np.cos(direction) * frame + jitter[:, 0]) * width
    shift_y = (speed * np.sin(direction) * frame * 0.5 + jitter[:, 1]) * width
    zoom = np.exp(rng.normal(0, 0.5 * motion) * frame + 0.2 * jitter[:, 2])
    turn = np.radians(rng.normal(0, 2.0) * min(1.0, motion * 50) + rng.normal(0, 25 * motion) * frame)
    turn += np.radians(20 * jitter[:, 3])
    centre = rng.random(2)
    matrices = []
    for t in range(T):
        cos, sin = abs(np.cos(turn[t])), abs(np.sin(turn[t]))
        w = width / zoom[t]
        h = w * size[0] / size[1] * stretch
        span_x, span_y = w * cos + h * sin, w * sin + h * cos
        if width <= photo[1] and h <= photo[0]:
            fit = min(1.0, photo[1] / span_x, photo[0] / span_y)
            w, h, span_x, span_y = w * fit, h * fit, span_x * fit, span_y * fit
        cx = _inside(centre[0], span_x, photo[1], shift_x[t])
        cy = _inside(centre[1], span_y, photo[0], shift_y[t])
        matrices.append(_view_matrix(cx, cy, w, h, float(turn[t]), size))
    return matrices


def _inside(share: float, span: float, length: int, shift: float) -> float:
    """Centre of a view of `span` in a photograph of `length`: inside if it fits, else near the middle."""
    low, high = sorted((span / 2, length - span / 2))
    middle = low + share * (high - low) + shift
    return float(np.clip(middle, low, high)) if span <= length else float(middle)


def _view_matrix(cx: float, cy: float, w: float, h: float, turn: float, size: Size) -> NDArray[np.float64]:
    scale_x, scale_y = size[1] / w, size[0] / h
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[cos * scale_x, -sin * scale_x], [sin * scale_y, cos * scale_y]])
    offset = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2]) - linear @ np.array([cx - 0.5, cy - 0.5])
    return np.column_stack([linear, offset])


def _tinted(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    """The cut-out in another light, so that the paste is not told by its exposure alone."""
    gain = float(np.exp(rng.normal(0, 0.15))) * np.exp(rng.normal(0, 0.04, size=3))
    rgba = cutout.rgba.copy()
    rgba[..., :3] = np.clip(rgba[..., :3] * gain, 0, 255)
    return Cutout(rgba, cutout.label, cutout.photograph)


def _paste(images: NDArray[np.uint8], layers: _Layers, cutout: Cutout, path: ObjectPath, number: int) -> None:
    """Draw one cut-out along its path, in place, over pictures and label maps."""
    T, height, width = layers.shape
    rgba = cutout.rgba[:, ::-1] if path.mirrored else cutout.rgba
    largest = float(path.height.max()) * height
    # `height` is that of an upright object; what is wide must fit, what is small must not blur.
    largest = min(largest, 0.75 * width * rgba.shape[0] / rgba.shape[1], MAX_ENLARGEMENT * rgba.shape[0])
    shrink = largest / rgba.shape[0]
    if shrink < 0.8:
        shape = (max(2, round(rgba.shape[1] * shrink)), max(2, round(rgba.shape[0] * shrink)))
        rgba = cv2.resize(np.ascontiguousarray(rgba), shape, interpolation=cv2.INTER_AREA).astype(np.uint8)
    rgba = np.ascontiguousarray(rgba)
    for t in range(T):
        scale = largest * path.height[t] / path.height.max() / rgba.shape[0]
        _paste_frame(
            images[t], layers[t], rgba, (path.x[t] * width, path.y[t] * height), scale, path.turn[t], number
        )


def _paste_frame(
    image: NDArray[np.uint8],
    layers: _Layers,
    rgba: NDArray[np.uint8],
    centre: tuple[float, float],
    scale: float,
    turn: float,
    number: int,
) -> None:
    height, width = layers.shape
    h, w = rgba.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), float(turn), scale)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    reach_x, reach_y = (w * cos + h * sin) / 2 + 1, (w * sin + h * cos) / 2 + 1
    x0, x1 = max(0, int(centre[0] - reach_x)), min(width, int(centre[0] + reach_x) + 1)
    y0, y1 = max(0, int(centre[1] - reach_y)), min(height, int(centre[1] + reach_y) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    matrix[:, 2] += (centre[0] - (w - 1) / 2 - x0, centre[1] - (h - 1) / 2 - y0)
    warped = cv2.warpAffine(rgba, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3:].astype(np.float32) * np.float32(1 / 255)
    under = image[y0:y1, x0:x1].astype(np.float32)
    image[y0:y1, x0:x1] = under + (warped[..., :3] - under) * alpha + np.float32(0.5)
    layers[y0:y1, x0:x1][warped[..., 3] > 127] = number
