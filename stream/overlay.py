"""Masks onto pictures: one colour for each identity, a tint, a contour, a tag.

Owns how a track looks. Pure functions on arrays; knows nothing about viewers, threads or video codecs. The
same colours are sent to subscribers (`stream.wire`), so that a page's list and its picture agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from stream.stamp import draw_stamp
from stream.zone_overlay import draw_region_tags, draw_regions
from stream.zones import Regions
from syncvis_online.colors import Color, color_of
from syncvis_online.types import Image, Track

TINT = 0.45
"""Share of the track's colour inside its mask; the rest is the camera's picture."""

INK_DARK: Color = (18, 20, 26)
INK_LIGHT: Color = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(
    image: Image,
    tracks: Sequence[Track],
    *,
    tint: float = TINT,
    labels: bool = True,
    stamp: int | None = None,
    regions: Regions = Regions(),  # noqa: B008  # immutable
) -> Image:
    """A copy of `image` with `tracks` drawn on it.

    Args:
        image: shape (H, W, 3), RGB, uint8; it is never written to.
        tracks: masks of size (H, W); larger ones are drawn first, so that small ones stay visible. Lost ones are
            not drawn.
        tint: share of the colour inside a mask, 0 to 1.
        labels: whether to draw a tag with id, class and score.
        regions: zones and lines, drawn below the tracks, their tags above.
        stamp: a frame number to draw as a machine-readable pattern (`stream.stamp`).
    """
    canvas = image.copy()
    scale = max(1.0, image.shape[0] / 540)
    thickness = 3 if scale < 1.5 else round(2.5 * scale)
    draw_regions(canvas, regions, scale)
    order = sorted((track for track in tracks if track.seen), key=_box_area, reverse=True)
    for track in order:
        _draw_mask(canvas, track, tint, thickness)
    if labels:
        for track in order:
            _draw_tag(canvas, track, scale)
    draw_region_tags(canvas, regions, scale)
    if stamp is not None:
        draw_stamp(canvas, stamp)
    return canvas


def _box_area(track: Track) -> float:
    x0, y0, x1, y1 = track.box_xyxy
    return (x1 - x0) * (y1 - y0)


def _decode_cropped(track: Track, margin: int) -> tuple[NDArray[np.uint8], tuple[slice, slice]] | None:
    """The mask (0 or 1) around its pixels, and where that is in the picture; None when it is empty.

    The mask itself is asked where its pixels are, not the track's box: what is drawn is what the mask says.
    """
    rle = {"size": track.mask["size"], "counts": track.mask["counts"].encode("ascii")}
    x, y, width, height = (int(edge) for edge in coco_mask.toBbox(rle))
    if not width or not height:
        return None
    rows = slice(max(0, y - margin), y + height + margin)
    columns = slice(max(0, x - margin), x + width + margin)
    return np.ascontiguousarray(coco_mask.decode(rle)[rows, columns]), (rows, columns)


def _draw_mask(canvas: Image, track: Track, tint: float, thickness: int) -> None:
    cropped = _decode_cropped(track, thickness)
    if cropped is None:
        return
    inside, where = cropped
    region, color = canvas[where], color_of(track.track_id)
    flat = np.empty_like(region)
    cv2.rectangle(flat, (0, 0), (flat.shape[1], flat.shape[0]), color, cv2.FILLED)
    tinted = cv2.addWeighted(region, 1.0 - tint, flat, tint, 0.0)
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    cv2.drawContours(tinted, contours, -1, color, thickness)
    # Tint and contour end where the mask does: a contour drawn around it would make small objects larger.
    cv2.copyTo(tinted, inside, region)


def _draw_tag(canvas: Image, track: Track, scale: float) -> None:
    """A filled tag above the object's box (inside it where there is no room above)."""
    height, width = canvas.shape[:2]
    text = f"{track.track_id} {track.label} {round(100 * track.score)}%"
    size = 0.42 * scale
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, size, 1)
    pad = round(3 * scale)
    tag_width, tag_height = text_width + 2 * pad, text_height + baseline + pad
    x0, y0, _, _ = (round(edge) for edge in track.box_xyxy)
    left = max(0, min(x0, width - tag_width))
    top = y0 - tag_height if y0 >= tag_height else max(0, min(y0, height - tag_height))
    color = color_of(track.track_id)
    cv2.rectangle(canvas, (left, top), (left + tag_width, top + tag_height), color, cv2.FILLED)
    ink = INK_DARK if _luminance(color) > 120 else INK_LIGHT
    cv2.putText(canvas, text, (left + pad, top + text_height + pad), FONT, size, ink, 1, cv2.LINE_AA)


def _luminance(color: Color) -> float:
    """ITU-R BT.601 luma, 0 to 255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
