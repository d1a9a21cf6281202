"""Zones and lines onto pictures: outlines in one quiet colour, a tag with name and count, an arrow for forward.

Owns how they look; the page draws them alike. Pure functions on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.geometry import Point
from stream.zones import LineView, Regions, ZoneView
from syncvis_online.colors import Color
from syncvis_online.types import Image

AMBER: Color = (255, 214, 102)
DARK: Color = (8, 10, 16)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FILL = 0.08
"""Share of the colour inside a zone."""


def draw_regions(canvas: Image, regions: Regions, scale: float) -> None:
    """Draw on `canvas` (H, W, 3), RGB, uint8, in place; `scale` 1 is for a picture 540 pixels high."""
    height, width = canvas.shape[:2]
    for zone in regions.zones:
        _tint(canvas, _pixels(zone.polygon, width, height))
    for zone in regions.zones:
        _outline(canvas, _pixels(zone.polygon, width, height), True, scale)
    for line in regions.lines:
        points = _pixels(line.points, width, height)
        _outline(canvas, points, False, scale)
        _arrow(canvas, points, scale)


def draw_region_tags(canvas: Image, regions: Regions, scale: float) -> None:
    """Names and counts, to be drawn after the objects."""
    height, width = canvas.shape[:2]
    for zone in regions.zones:
        # The corner that is nearest to the picture's upper left: there a tag hides the least of what stands inside.
        corner = min(_pixels(zone.polygon, width, height), key=lambda point: point[0] + 2 * point[1])
        _tag(canvas, _zone_text(zone), corner, scale)
    for line in regions.lines:
        _tag(canvas, _line_text(line), _pixels(line.points, width, height)[-1], scale)


def _zone_text(zone: ZoneView) -> str:
    return f"{zone.name}  {zone.count}"


def _line_text(line: LineView) -> str:
    return f"{line.name}  +{line.forward} -{line.backward}"


def _pixels(points: Sequence[Point], width: int, height: int) -> NDArray[np.int32]:
    """Shares of the picture as whole pixels inside it, shape (N, 2)."""
    scaled = np.array(points) * (width, height)
    return np.clip(np.rint(scaled), 0, (width - 1, height - 1)).astype(np.int32)


def _tint(canvas: Image, polygon: NDArray[np.int32]) -> None:
    x, y, width, height = cv2.boundingRect(polygon)
    region = canvas[y : y + height, x : x + width]
    inside = np.zeros(region.shape[:2], np.uint8)
    cv2.fillPoly(inside, [polygon - (x, y)], 1)
    flat = np.full_like(region, AMBER)
    cv2.copyTo(cv2.addWeighted(region, 1 - FILL, flat, FILL, 0), inside, region)


def _outline(canvas: Image, points: NDArray[np.int32], closed: bool, scale: float) -> None:
    """Amber on a dark rim, to be seen on any picture."""
    for color, thickness in ((DARK, 3.2), (AMBER, 1.4)):
        cv2.polylines(canvas, [points], closed, color, max(1, round(thickness * scale)), cv2.LINE_AA)


def _arrow(canvas: Image, points: NDArray[np.int32], scale: float) -> None:
    """A triangle at the line's middle that points to where forward goes: its right."""
    start, end = points.astype(float)
    along = (end - start) / max(1.0, float(np.linalg.norm(end - start)))
    right = np.array((-along[1], along[0]))
    middle = (start + end) / 2
    corners = [middle + (a * along + r * right) * scale for a, r in ((-6, 3), (0, 14), (6, 3))]
    triangle = np.rint(corners).astype(np.int32)
    cv2.fillPoly(canvas, [triangle], AMBER, cv2.LINE_AA)
    cv2.polylines(canvas, [triangle], True, DARK, 1, cv2.LINE_AA)


def _tag(canvas: Image, text: str, at: NDArray[np.int32], scale: float) -> None:
    """A dark tag at a point, inside the picture."""
    height, width = canvas.shape[:2]
    size, pad = 0.42 * scale, round(4 * scale)
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, size, 1)
    tag_width, tag_height = text_width + 2 * pad, text_height + baseline + pad
    left = int(max(0, min(at[0], width - tag_width)))
    top = int(max(0, min(at[1], height - tag_height)))
    cv2.rectangle(canvas, (left, top), (left + tag_width, top + tag_height), DARK, cv2.FILLED)
    cv2.putText(canvas, text, (left + pad, top + text_height + pad), FONT, size, AMBER, 1, cv2.LINE_AA)
