"""What the encoder knows of a frame: the value that is computed once per frame and shared by its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """Encoder output. `...` is (B,) for frames as they are encoded, (B, T) for windows.

    `levels[i]`: (..., S_i, C) tokens of the maps at 1/32, 1/16 and 1/8, row by row, level embedding not added;
    `sizes[i]`: their (height, width); `mask_features`: (..., Cm, H/m, W/m), m the mask stride;
    `level_masks[i]`: (..., Cm, S_i), mask features resized to the levels, from which the attention masks are made
    (resizing commutes with the product over channels, so this is exact and a tenth of the work). `colors`: (..., 3,
    H/m, W/m), the mean colour of the picture in each cell of the mask features, RGB, 0 to 255; None where nobody asked.
    """

    levels: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]
    mask_features: Tensor
    level_masks: tuple[Tensor, ...]
    colors: Tensor | None = None

    def windows(self, index: Tensor) -> FrameFeatures:
        """Gather frames (B', ...) into windows; `index` (B, T) holds positions along the first axis."""
        return FrameFeatures(
            levels=tuple(x[index] for x in self.levels),
            sizes=self.sizes,
            mask_features=self.mask_features[index],
            level_masks=tuple(x[index] for x in self.level_masks),
            colors=None if self.colors is None else self.colors[index],
        )

    def frame(self, index: int) -> FrameFeatures:
        """Of frames that were encoded together (B, ...), one, (1, ...); it keeps nothing of the others in memory."""
        of_one = slice(index, index + 1)
        if self.mask_features.shape[0] == 1:
            return self
        return FrameFeatures(
            levels=tuple(x[of_one].clone() for x in self.levels),
            sizes=self.sizes,
            mask_features=self.mask_features[of_one].clone(),
            level_masks=tuple(x[of_one].clone() for x in self.level_masks),
            colors=None if self.colors is None else self.colors[of_one].clone(),
        )

    @staticmethod
    def batch(windows: Sequence[FrameFeatures]) -> FrameFeatures:
        """Windows of one shape (1, T, ...), or frames (1, ...), as one of (B, T, ...), or (B, ...)."""
        if len(windows) == 1:
            return windows[0]
        colors = [w.colors for w in windows if w.colors is not None]
        return FrameFeatures(
            levels=tuple(torch.cat(x) for x in zip(*(w.levels for w in windows), strict=True)),
            sizes=windows[0].sizes,
            mask_features=torch.cat([w.mask_features for w in windows]),
            level_masks=tuple(torch.cat(x) for x in zip(*(w.level_masks for w in windows), strict=True)),
            colors=torch.cat(colors) if len(colors) == len(windows) else None,
        )

    @staticmethod
    def stack(frames: Sequence[FrameFeatures]) -> FrameFeatures:
        """One window (1, T) of frames that were encoded apart, each with a leading axis of 1."""
        colors = [f.colors for f in frames if f.colors is not None]
        return FrameFeatures(
            levels=tuple(torch.stack(x, dim=1) for x in zip(*(f.levels for f in frames), strict=True)),
            sizes=frames[0].sizes,
            mask_features=torch.stack([f.mask_features for f in frames], dim=1),
            level_masks=tuple(
                torch.stack(x, dim=1) for x in zip(*(f.level_masks for f in frames), strict=True)
            ),
            colors=torch.stack(colors, dim=1) if len(colors) == len(frames) else None,
        )
