"""The colour of an identity: the same in every picture, page and message, and for ever."""

from __future__ import annotations

import colorsys
from functools import lru_cache

Color = tuple[int, int, int]

GOLDEN_RATIO = 0.6180339887498949
TONES = ((0.72, 1.0), (0.58, 0.92), (0.88, 0.86))
"""(saturation, value) of ids that follow each other: neighbours differ in more than their hue."""


@lru_cache(maxsize=4096)
def color_of(track_id: int) -> Color:
    """The colour (r, g, b), 0 to 255, of an identity.

    Hues step by the golden ratio, so that any run of consecutive ids is spread evenly around the circle.
    """
    hue = (0.04 + track_id * GOLDEN_RATIO) % 1.0
    saturation, value = TONES[track_id % len(TONES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(255 * red), round(255 * green), round(255 * blue))


def hex_color(track_id: int) -> str:
    """`color_of` as CSS writes it: "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*color_of(track_id))
