"""Swin Transformer (Liu et al., ICCV 2021): attention within windows that shift from block to block.

As used for segmentation (Mask2Former): any picture size, windows padded where they do not divide it, a layer norm
on each output.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def window_partition(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C), sides multiples of `window` -> (B * windows, window * window, C), windows row by row."""
    B, H, W, C = x.shape
    x = x.view(B, H // window, window, W // window, window, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, C)


def window_reverse(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `window_partition`: (B, height, width, C)."""
    C = windows.shape[-1]
    x = windows.view(-1, height // window, width // window, window, window, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, C)


def shifted_window_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Which pairs of a shifted window's cells lie together in the picture, (windows, n, n) bool, n = window^2.

    After the cyclic shift the last windows hold cells from opposite borders; those must not see each other.
    """

    def regions(cells: int) -> Tensor:
        index = torch.arange(cells, device=device)
        return (index >= cells - window).long() + (index >= cells - shift).long()

    region = (3 * regions(height)[:, None] + regions(width)[None]).view(1, height, width, 1)
    windows = window_partition(region, window).squeeze(-1)
    return windows[:, :, None] == windows[:, None, :]


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative position."""

    relative_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        cells = torch.stack(torch.meshgrid(*(torch.arange(window),) * 2, indexing="ij")).flatten(1)
        apart = cells[:, :, None] - cells[:, None, :] + window - 1
        self.register_buffer("relative_index", apart[0] * (2 * window - 1) + apart[1], persistent=False)

    def forward(self, x: Tensor, together: Tensor | None) -> Tensor:
        """x (B * windows, n, C); `together` (windows, n, n) bool, None where every cell sees every other."""
        G, n, C = x.shape
        query, key, value = self.qkv(x).view(G, n, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.position_bias[self.relative_index].permute(2, 0, 1)[None]  # (1, heads, n, n)
        if together is not None:
            blocked = torch.zeros_like(together, dtype=bias.dtype).masked_fill(~together, -100.0)
            bias = (bias + blocked[:, None]).repeat(G // len(together), 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(G, n, C))
        return out


class SwinBlock(nn.Module):
    """Window attention and an MLP, pre-norm, each with a shortcut."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop_path = window, shift, drop_path
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., ECCV 2016): the branch of a sample is left out at random."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1.0 - self.drop_path
        return x * x.new_empty(len(x), *(1,) * (x.ndim - 1)).bernoulli_(keep) / keep

    def _attend(self, x: Tensor) -> Tensor:
        _, H, W, _ = x.shape
        x = F.pad(x, (0, 0, 0, -W % self.window, 0, -H % self.window))
        height, width = x.shape[1:3]
        together = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            together = shifted_window_mask(height, width, self.window, self.shift, x.device)
        windows = self.attention(window_partition(x, self.window), together)
        x = window_reverse(windows, self.window, height, width)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :H, :W]

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self._dropped(self._attend(self.norm1(x)))
        out: Tensor = x + self._dropped(self.mlp(self.norm2(x)))
        return out


class PatchMerging(nn.Module):
    """Half the sides, twice the channels: the four cells of each 2 x 2 patch side by side, then a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), 2C)."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        cells = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(cells, dim=-1)))
        return merged


class SwinTransformer(nn.Module):
    """(B, 3, H, W) pictures, normalised, to maps at strides 4 to 32, stride s with `channels[s]` channels."""

    def __init__(
        self,
        embed_channels: int,
        depths: tuple[int, int, int, int],
        heads: tuple[int, int, int, int],
        window: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [embed_channels << i for i in range(4)]
        self.channels = dict(zip((4, 8, 16, 32), widths, strict=True))
        self.patch_embed = nn.Conv2d(3, embed_channels, 4, stride=4)
        self.patch_norm = nn.LayerNorm(embed_channels)
        rates = np.linspace(0.0, drop_path, sum(depths)).tolist()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    SwinBlock(C, heads[i], window, window // 2 if b % 2 else 0, rates[sum(depths[:i]) + b])
                    for b in range(depths[i])
                )
            )
            for i, C in enumerate(widths)
        )
        self.merges = nn.ModuleList(PatchMerging(C) for C in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(C) for C in widths)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Maps by stride, from fine to coarse."""
        x = F.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))
        x = self.patch_norm(self.patch_embed(x).permute(0, 2, 3, 1))
        maps = {}
        for i, (stage, norm, stride) in enumerate(zip(self.stages, self.norms, self.channels, strict=True)):
            if i:
                x = self.merges[i - 1](x)
            x = stage(x)
            maps[stride] = norm(x).permute(0, 3, 1, 2)
        return maps
