"""The light pixel decoder: a feature pyramid (Lin et al., CVPR 2017) with one transformer layer on the coarsest map.

As in MaskFormer's transformer-and-FPN decoder, the self-attention layer on the 1/32 map gives every cell the
whole picture for the price of a few dozen tokens. Mask features are at 1/4 of the input, or at 1/2: at 192 x 320,
cells of 1/4 are too coarse for a bicycle, whatever the model (docs/model.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from syncvis_online.backbones.resnet import conv_norm
from syncvis_online.errors import ConfigError
from syncvis_online.features import FrameFeatures
from syncvis_online.position_encoding import sine_position_encoding

LEVEL_STRIDES = (32, 16, 8)
"""Strides of the multi-scale maps, in the order in which the decoder's layers use them."""


def check_mask_stride(channels: Mapping[int, int], mask_stride: int) -> None:
    """Raise ConfigError when a backbone with these maps cannot give mask features of that stride."""
    if mask_stride not in channels:
        raise ConfigError(f"mask_stride {mask_stride}: the backbone has no map of that stride")


def frame_features(
    levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]], masks: Tensor
) -> FrameFeatures:
    """The features of frames, with their mask features (B, Cm, h, w) resized to the levels too."""
    height = LEVEL_STRIDES[-1] // 4 * sizes[-1][0]
    # Averaged to 1/4 first: bilinear sampling of a finer map would look at single cells.
    coarse = masks if masks.shape[-2] == height else F.avg_pool2d(masks, 2)
    level_masks = (F.interpolate(coarse, size=s, mode="bilinear", align_corners=False) for s in sizes)
    return FrameFeatures(tuple(levels), tuple(sizes), masks, tuple(x.flatten(2) for x in level_masks))


class MaskRefinement(nn.Module):
    """Mask features at 1/2: those at 1/4, enlarged, and what the backbone's first map adds to them.

    The addition starts at zero, so that weights trained at 1/4 go on from what they gave.
    """

    def __init__(self, fine: int, coarse: int, channels: int) -> None:
        super().__init__()
        self.lateral = conv_norm(fine, channels, 1)
        self.top_down = conv_norm(coarse, channels, 1)
        self.output = conv_norm(channels, channels, 3)
        self.addition = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.addition.weight)
        nn.init.zeros_(self.addition.bias)  # type: ignore[arg-type]

    def forward(self, masks: Tensor, x: Tensor, fine: Tensor) -> Tensor:
        """`masks` (B, Cm, H/4, W/4), `x` (B, C', H/4, W/4), of which they were made; `fine` (B, C, H/2, W/2)."""
        size = fine.shape[-2:]
        up = F.interpolate(self.top_down(x), size=size, mode="bilinear", align_corners=False)
        added = self.addition(F.relu(self.output(F.relu(self.lateral(fine) + up))))
        enlarged: Tensor = F.interpolate(masks, size=size, mode="bilinear", align_corners=False) + added
        return enlarged


class FPNPixelDecoder(nn.Module):
    """Backbone maps -> three multi-scale maps of C channels and mask features of Cm channels.

    `inputs`: channels of the backbone's maps by stride; `mask_stride`: 4, or 2 where the backbone has that map.
    Raises ConfigError when it has not.
    """

    def __init__(
        self, inputs: Mapping[int, int], channels: int, mask_channels: int, heads: int, mask_stride: int
    ) -> None:
        super().__init__()
        check_mask_stride(inputs, mask_stride)
        coarse = [inputs[stride] for stride in LEVEL_STRIDES]
        self.context = nn.TransformerEncoderLayer(
            channels, heads, channels * 4, dropout=0.0, batch_first=True
        )
        self.lateral = nn.ModuleList(conv_norm(c, channels, 1) for c in coarse)
        self.output = nn.ModuleList(conv_norm(channels, channels, 3) for _ in coarse)
        width = channels // 2
        self.mask_top_down = conv_norm(channels, width, 1)
        self.mask_lateral = conv_norm(inputs[4], width, 1)
        self.mask_output = conv_norm(width, width, 3)
        self.mask_features = nn.Conv2d(width, mask_channels, 1)
        self.detail = MaskRefinement(inputs[2], width, mask_channels) if mask_stride == 2 else None

    def _with_context(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        position = sine_position_encoding(height, width, channels, device=x.device, dtype=x.dtype)
        tokens = self.context(x.flatten(2).transpose(1, 2) + position)
        mixed: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return mixed

    def forward(self, maps: Mapping[int, Tensor]) -> FrameFeatures:
        """`maps`: the backbone's by stride, each (B, C_s, H/s, W/s)."""
        x = self._with_context(self.lateral[0](maps[LEVEL_STRIDES[0]]))
        levels, sizes = [], []
        for i, (lateral, output) in enumerate(zip(self.lateral, self.output, strict=True)):
            if i:
                fine = lateral(maps[LEVEL_STRIDES[i]])
                x = fine + F.interpolate(x, size=fine.shape[-2:], mode="nearest")
            x = F.relu(output(x))
            levels.append(x.flatten(2).transpose(1, 2))
            sizes.append((x.shape[-2], x.shape[-1]))
        fine = self.mask_lateral(maps[4])
        up = F.interpolate(self.mask_top_down(x), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.mask_output(F.relu(fine + up)))
        masks = self.mask_features(x)
        if self.detail is not None:
            masks = self.detail(masks, x, maps[2])
        return frame_features(levels, sizes, masks)
