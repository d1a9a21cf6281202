"""What the encoder knows of a frame: the value that is computed once per frame and shared by its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """Encoder output. `...` is (B,) for frames as they are encoded, (B, T) for windows.

    `levels[i]`: (..., S_i, C) tokens of the maps at 1/32, 1/16 and 1/8, row by row, level embedding not added;
    `sizes[i]`: their (height, width); `mask_features`: (..., Cm, H/m, W/m), m the mask stride, or of no cells where
    they were left out: the decoder reads `level_masks[i]`: (..., Cm, S_i), mask features resized to the levels, from
    which the attention masks are made (resizing commutes with the product over channels, so this is exact and a tenth
    of the work). `picture`: (..., 3, H, W) uint8, what was encoded, RGB; None where nobody asked. `projected[l]`:
    (..., S, C) keys and (..., S, C) values of the decoder's layer l, for the level that it looks at; empty until the
    decoder has projected them; then `levels` may be empty.
    """

    levels: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]
    mask_features: Tensor
    level_masks: tuple[Tensor, ...]
    picture: Tensor | None = None
    projected: tuple[tuple[Tensor, Tensor], ...] = ()

    def float(self) -> FrameFeatures:
        """The same in float32."""
        return _joined([self], lambda parts: parts[0].float())

    def windows(self, index: Tensor) -> FrameFeatures:
        """Gather frames (B', ...) into windows; `index` (B, T) holds positions along the first axis."""
        return _joined([self], lambda parts: parts[0][index])

    def frame(self, index: int) -> FrameFeatures:
        """Of frames that were encoded together (B, ...), one, (1, ...); it keeps nothing of the others in memory."""
        if self.mask_features.shape[0] == 1:
            return self
        return _joined([self], lambda parts: parts[0][index : index + 1].clone())

    @staticmethod
    def batch(windows: Sequence[FrameFeatures]) -> FrameFeatures:
        """Windows of one shape (1, T, ...), or frames (1, ...), as one of (B, T, ...), or (B, ...)."""
        return windows[0] if len(windows) == 1 else _joined(windows, torch.cat)

    @staticmethod
    def stack(frames: Sequence[FrameFeatures]) -> FrameFeatures:
        """One window (1, T) of frames that were encoded apart, each with a leading axis of 1, for the decoder: without
        mask features and picture, most of what there is to copy, which are looked at frame by frame.
        """
        read = [replace(f, mask_features=f.mask_features[..., :0, :0], picture=None) for f in frames]
        return _joined(read, lambda parts: torch.stack(parts, dim=1))


def _joined(parts: Sequence[FrameFeatures], join: Callable[[list[Tensor]], Tensor]) -> FrameFeatures:
    """Features of one shape, tensor by tensor."""
    pictures = [part.picture for part in parts if part.picture is not None]
    return FrameFeatures(
        levels=tuple(join(list(x)) for x in zip(*(part.levels for part in parts), strict=True)),
        sizes=parts[0].sizes,
        mask_features=join([part.mask_features for part in parts]),
        level_masks=tuple(join(list(x)) for x in zip(*(part.level_masks for part in parts), strict=True)),
        picture=join(pictures) if len(pictures) == len(parts) else None,
        projected=tuple(
            (join([keys for keys, _ in layer]), join([values for _, values in layer]))
            for layer in zip(*(part.projected for part in parts), strict=True)
        ),
    )


def mask_logits(embeds: Tensor, maps: Tensor) -> Tensor:
    """Mask embeddings (N, Cm) times the mask features of a frame (Cm, h, w): (N, h, w)."""
    return (embeds @ maps.flatten(1)).view(len(embeds), *maps.shape[1:])
