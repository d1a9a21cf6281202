"""A frame number burnt into a picture as blocks of black and white, and its reader.

Owns the pattern. It survives a lossy video codec, so that whoever sees a picture at the far end of a
WebRTC connection can say which frame it is: for tests and for measuring the delay to the glass. Off
unless asked for.

Two rows of blocks in the bottom left corner, each led by two marker blocks that differ in order:

    white black  n23 n22 ... n8
    black white  n7  n6  ... n0  c7 ... c0

`n` are the 24 low bits of the number, `c` its CRC-8 (polynomial 0x07).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syncvis_online.types import Image

BITS = 24
COLUMNS = 18
ROWS = 2
MARKERS = ((1, 0), (0, 1))
BLACK, WHITE = 16, 235
CONTRAST = 60


def block_px(width: int) -> int:
    """Side of one block, pixels, for a picture of this width: a multiple of 8, the codecs' block."""
    return max(8, 8 * (width // 640))


def stamp_area(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the pattern covers in a picture of this size."""
    side = block_px(width)
    return slice(max(0, height - ROWS * side), height), slice(0, min(width, COLUMNS * side))


def draw_stamp(image: Image, number: int) -> None:
    """Draw the 24 low bits of `number` into `image`, shape (H, W, 3), in place.

    Raises ValueError when the picture is smaller than the pattern (144x16 pixels).
    """
    height, width = image.shape[:2]
    side = block_px(width)
    if height < ROWS * side or width < COLUMNS * side:
        raise ValueError(f"a picture of {width}x{height} is too small for a frame stamp")
    levels = np.where(_pattern(number % (1 << BITS)), WHITE, BLACK).astype(np.uint8)
    image[stamp_area(height, width)] = np.kron(levels, np.ones((side, side), np.uint8))[..., None]


def read_stamp(image: Image) -> int | None:
    """The number in a picture that `draw_stamp` marked, shape (H, W, 3) or (H, W), or None.

    Markers, contrast and checksum must hold, so that a picture without a stamp is not given a number.
    """
    height, width = image.shape[:2]
    side = block_px(width)
    if height < ROWS * side or width < COLUMNS * side:
        return None
    area = image[stamp_area(height, width)].reshape(ROWS * side, COLUMNS * side, -1).mean(axis=2)
    inner = slice(side // 4, side - side // 4)
    levels = area.reshape(ROWS, side, COLUMNS, side)[:, inner, :, inner].mean(axis=(1, 3))
    bits = levels > (BLACK + WHITE) / 2
    if np.abs(levels - (BLACK + WHITE) / 2).min() < CONTRAST / 2:
        return None
    number = _number(np.concatenate([bits[0, 2:], bits[1, 2 : 2 + BITS - 16]]))
    return number if np.array_equal(bits, _pattern(number)) else None


def _pattern(number: int) -> NDArray[np.bool_]:
    value = (number << 8) | _crc8(number)
    payload = [(value >> shift) & 1 for shift in range(BITS + 7, -1, -1)]
    rows = [[*MARKERS[row], *payload[16 * row : 16 * (row + 1)]] for row in range(ROWS)]
    return np.array(rows, dtype=np.bool_)


def _number(bits: NDArray[np.bool_]) -> int:
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _crc8(number: int) -> int:
    """CRC-8 (polynomial x^8 + x^2 + x + 1) of the number's three bytes."""
    crc = 0
    for byte in number.to_bytes(BITS // 8, "big"):
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
