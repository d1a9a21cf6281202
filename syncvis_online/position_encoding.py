"""Two-dimensional sine position encoding (DETR, Carion et al., ECCV 2020, appendix A.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position_encoding(
    height: int, width: int, channels: int, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Encoding of every cell, shape (height * width, channels), row by row.

    Coordinates are normalised to (0, 2 pi], so that a model trained at one size works at another; the first
    half of the channels encodes y, the second x.
    """
    half = channels // 2
    frequency = 10000.0 ** (2 * (torch.arange(half, device=device, dtype=torch.float64) // 2) / half)

    def axis(cells: int) -> Tensor:
        position = (
            torch.arange(1, cells + 1, device=device, dtype=torch.float64) / (cells + 1e-6) * 2 * math.pi
        )
        angle = position[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)

    y, x = axis(height), axis(width)
    grid = torch.cat((y[:, None].expand(height, width, half), x[None].expand(height, width, half)), dim=-1)
    return grid.flatten(0, 1).to(dtype)
