"""The light pixel decoder: a feature pyramid (Lin et al., CVPR 2017) with one transformer layer on the coarsest map.

As in MaskFormer's transformer-and-FPN decoder, the self-attention layer on the 1/32 map gives every cell the
whole picture for the price of a few dozen tokens.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from syncvis_online.backbones.resnet import conv_norm
from syncvis_online.features import FrameFeatures
from syncvis_online.position_encoding import sine_position_encoding


class FPNPixelDecoder(nn.Module):
    """Backbone maps -> three multi-scale maps of C channels and mask features of Cm channels."""

    def __init__(self, inputs: tuple[int, ...], channels: int, mask_channels: int, heads: int) -> None:
        super().__init__()
        coarse = inputs[:0:-1]  # 1/32, 1/16, 1/8
        self.context = nn.TransformerEncoderLayer(
            channels, heads, channels * 4, dropout=0.0, batch_first=True
        )
        self.lateral = nn.ModuleList(conv_norm(c, channels, 1) for c in coarse)
        self.output = nn.ModuleList(conv_norm(channels, channels, 3) for _ in coarse)
        self.mask_top_down = conv_norm(channels, mask_channels, 1)
        self.mask_lateral = conv_norm(inputs[0], mask_channels, 1)
        self.mask_output = conv_norm(mask_channels, mask_channels, 3)
        self.mask_features = nn.Conv2d(mask_channels, mask_channels, 1)

    def _with_context(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        position = sine_position_encoding(height, width, channels, device=x.device, dtype=x.dtype)
        tokens = self.context(x.flatten(2).transpose(1, 2) + position)
        mixed: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return mixed

    def forward(self, maps: list[Tensor]) -> FrameFeatures:
        """`maps`: the backbone's, from 1/4 to 1/32, each (B, C_i, H_i, W_i)."""
        x = self._with_context(self.lateral[0](maps[-1]))
        levels, sizes = [], []
        for i, (lateral, output) in enumerate(zip(self.lateral, self.output, strict=True)):
            if i:
                fine = lateral(maps[-1 - i])
                x = fine + F.interpolate(x, size=fine.shape[-2:], mode="nearest")
            x = F.relu(output(x))
            levels.append(x.flatten(2).transpose(1, 2))
            sizes.append((x.shape[-2], x.shape[-1]))
        fine = self.mask_lateral(maps[0])
        up = F.interpolate(self.mask_top_down(x), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        masks = self.mask_features(F.relu(self.mask_output(F.relu(fine + up))))
        level_masks = [
            F.interpolate(masks, size=s, mode="bilinear", align_corners=False).flatten(2) for s in sizes
        ]
        return FrameFeatures(tuple(levels), tuple(sizes), masks, tuple(level_masks))
