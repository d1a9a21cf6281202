"""Multi-scale deformable attention (Zhu et al., ICLR 2021) and Mask2Former's pixel decoder, which is made of it.

Every cell of the 1/32, 1/16 and 1/8 maps looks at a few learned places on each of the three; a feature pyramid then
adds the 1/4 map for the mask features. Pure PyTorch, exact on every device, in the form that is fast on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncvis_online.features import FrameFeatures
from syncvis_online.pixel_decoder import LEVEL_STRIDES, MaskRefinement, check_mask_stride, frame_features
from syncvis_online.position_encoding import sine_position_encoding

POINTS = 4
NORM_GROUPS = 32


def sample_levels(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The sum of weighted bilinear samples of several maps (Zhu et al., eq. 3): (B, Q, M * d).

    `value` (B, S, M, d): the maps' cells row by row, level after level, for M heads of d channels; `sizes`: each
    level's (height, width); `locations` (B, Q, M, L, P, 2): x and y in [0, 1] of P places on each of L levels;
    `weights` (B, Q, M, L, P). Outside of a map is zero.

    On a CPU by rows (5.0 to 6.3 times as fast as by maps, 1.5 to 1.6 times with gradients), elsewhere by maps
    (benchmarks/deformable_speed.py).
    """
    by = sample_rows if value.device.type == "cpu" else sample_maps
    return by(value, sizes, locations, weights)


def sample_maps(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """`sample_levels` by `grid_sample`, level by level: all samples are made, then weighted and added."""
    B, _, M, d = value.shape
    Q, P = locations.shape[1], locations.shape[4]
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (L, B * M, Q, P, 2)
    shares = weights.permute(3, 0, 2, 1, 4).reshape(len(sizes), B * M, 1, Q, P)
    total = value.new_zeros(B * M, d, Q)
    start = 0
    for (height, width), grid, share in zip(sizes, grids, shares, strict=True):
        cells = value[:, start : start + height * width].permute(0, 2, 3, 1)
        maps = cells.reshape(B * M, d, height, width)
        total = total + (F.grid_sample(maps, grid, align_corners=False) * share).sum(-1)
        start += height * width
    return total.view(B, M * d, Q).transpose(1, 2)


def sample_rows(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """`sample_levels` as one weighted sum of rows of `value`: four corners for each of L * P places.

    A cell's d channels lie side by side, so each corner is one read of d numbers, added where it is read
    (`embedding_bag`): no sample is ever written, and no map is transposed.
    """
    B, S, M, d = value.shape
    kind, exact = value.dtype, torch.promote_types(value.dtype, torch.float32)
    rows, shares = _corners(sizes, locations.to(exact), weights.to(exact))
    heads = torch.arange(M, device=value.device, dtype=torch.int32)
    first = torch.arange(B, device=value.device, dtype=torch.int32)[:, None, None] * (S * M) + heads
    total = F.embedding_bag(
        (rows * M + first).permute(3, 4, 5, 1, 2, 0).flatten(0, 2).flatten(1),
        value.to(exact).reshape(B * S * M, d),
        mode="sum",
        per_sample_weights=shares.permute(3, 4, 5, 1, 2, 0).flatten(0, 2).flatten(1),
    )
    return total.view(B, -1, M * d).to(kind)


def _cells(sizes: Sequence[tuple[int, int]], device: torch.device, kind: torch.dtype) -> Tensor:
    """Width and height of each level's map, (L, 2). Filled in where it is needed: a copy from the host is a step that
    waits for a GPU, and that a CUDA graph cannot record.
    """
    numbers = [torch.full((1,), n, device=device, dtype=kind) for h, w in sizes for n in (w, h)]
    return torch.cat(numbers).view(-1, 2)


def _corners(sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each place, as rows among all levels' cells (int32), and their shares in the sum; both
    (4, L, P, B, Q, M). The share of one outside of its map is 0.

    Axis, level and place come first in memory: what is one number for a level is then one for millions, which is what
    makes these many small steps fast.
    """
    cells = _cells(sizes, locations.device, torch.int32)
    area = cells.prod(1, dtype=torch.int32)
    start = (area.cumsum(0, dtype=torch.int32) - area).view(-1, 1, 1, 1, 1)
    size = cells.T.reshape(2, -1, 1, 1, 1, 1)  # width and height, (2, L, 1, ...)
    at = locations.permute(5, 3, 4, 0, 1, 2).contiguous() * size - 0.5
    corner = at.floor()
    after = at - corner
    weights = weights.permute(3, 4, 0, 1, 2).contiguous()

    def on_both_axes(cell: Tensor, share: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """x and y of cells, moved into their map, with their shares, which are 0 where they had to be moved."""
        inner = torch.minimum(cell.clamp(min=0), size - 1)
        (x, y), (share_x, share_y) = inner, share * (inner == cell)
        return (x, share_x), (y, share_y)

    cell = corner.to(torch.int32)
    columns, lines = zip(on_both_axes(cell, 1 - after), on_both_axes(cell + 1, after), strict=True)
    rows, shares = [], []
    for y, share_y in lines:
        line, share = y * size[0] + start, weights * share_y
        for x, share_x in columns:
            rows.append(line + x)
            shares.append(share * share_x)
    return torch.stack(rows), torch.stack(shares)


class DeformableAttention(nn.Module):
    """Each query looks at POINTS places on each level, near its own place; where, and how much, it says itself."""

    def __init__(self, channels: int, heads: int, levels: int) -> None:
        super().__init__()
        self.heads, self.levels = heads, levels
        self.offsets = nn.Linear(channels, heads * levels * POINTS * 2)
        self.weights = nn.Linear(channels, heads * levels * POINTS)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self._reset()

    def _reset(self) -> None:
        """Heads start looking in directions of their own, farther with each point (Zhu et al., appendix A.4)."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, POINTS + 1).view(1, 1, POINTS, 1)
        places = direction.view(self.heads, 1, 1, 2).expand(-1, self.levels, POINTS, -1) * steps
        nn.init.zeros_(self.offsets.weight)
        with torch.no_grad():
            self.offsets.bias.copy_(places.flatten())
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for linear in (self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, query: Tensor, places: Tensor, tokens: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """query (B, Q, C) at `places` (Q, 2), x and y in [0, 1], over tokens (B, S, C) -> (B, Q, C)."""
        B, Q, _ = query.shape
        shape = (B, Q, self.heads, self.levels, POINTS)
        value = self.value(tokens).unflatten(-1, (self.heads, -1))
        weights = self.weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        cells = _cells(sizes, query.device, query.dtype)
        offsets = self.offsets(query).view(*shape, 2) / cells[:, None]
        locations = places[None, :, None, None, None] + offsets
        out: Tensor = self.output(sample_levels(value, sizes, locations, weights))
        return out


class _EncoderLayer(nn.Module):
    """Deformable self-attention over all levels and an FFN, post-norm."""

    def __init__(self, channels: int, heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, len(LEVEL_STRIDES))
        self.ffn = nn.Sequential(
            nn.Linear(channels, ffn_channels), nn.ReLU(inplace=True), nn.Linear(ffn_channels, channels)
        )
        self.attention_norm, self.ffn_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(
        self, x: Tensor, position: Tensor, places: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        x = self.attention_norm(x + self.attention(x + position, places, x, sizes))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


def cell_centres(sizes: Sequence[tuple[int, int]], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The centre of every cell of every level, x and y in [0, 1], (S, 2)."""
    centres = []
    for height, width in sizes:
        y = (torch.arange(height, device=device, dtype=dtype) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=dtype) + 0.5) / width
        centres.append(
            torch.stack((x[None].expand(height, width), y[:, None].expand(height, width)), dim=-1).flatten(
                0, 1
            )
        )
    return torch.cat(centres)


def conv_group(inputs: int, outputs: int, kernel: int, *, bias: bool) -> nn.Sequential:
    """Convolution, then group normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias), nn.GroupNorm(NORM_GROUPS, outputs)
    )


class DeformablePixelDecoder(nn.Module):
    """Backbone maps -> three multi-scale maps of C channels and mask features of Cm channels.

    `layers` of deformable attention. Raises ConfigError when the backbone has no map for `mask_stride`.
    """

    def __init__(
        self,
        inputs: Mapping[int, int],
        channels: int,
        mask_channels: int,
        heads: int,
        mask_stride: int,
        *,
        layers: int,
        ffn_channels: int,
    ) -> None:
        super().__init__()
        check_mask_stride(inputs, mask_stride)
        self.inputs = nn.ModuleList(conv_group(inputs[s], channels, 1, bias=True) for s in LEVEL_STRIDES)
        self.level_embedding = nn.Parameter(torch.randn(len(LEVEL_STRIDES), channels))
        self.layers = nn.ModuleList(_EncoderLayer(channels, heads, ffn_channels) for _ in range(layers))
        self.lateral = conv_group(inputs[4], channels, 1, bias=False)
        self.output = conv_group(channels, channels, 3, bias=False)
        self.mask_features = nn.Conv2d(channels, mask_channels, 1)
        self.detail = MaskRefinement(inputs[2], channels, mask_channels) if mask_stride == 2 else None

    def _position(self, sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
        """Sine encoding of the cell and the embedding of its level, (S, C)."""
        C = self.level_embedding.shape[1]
        return torch.cat(
            [
                sine_position_encoding(h, w, C, device=like.device, dtype=like.dtype)
                + self.level_embedding[i]
                for i, (h, w) in enumerate(sizes)
            ]
        )

    def forward(self, maps: Mapping[int, Tensor]) -> FrameFeatures:
        """`maps`: the backbone's by stride, each (B, C_s, H/s, W/s)."""
        projected = [project(maps[s]) for project, s in zip(self.inputs, LEVEL_STRIDES, strict=True)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in projected]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in projected], dim=1)
        position = self._position(sizes, tokens)
        places = cell_centres(sizes, tokens.device, tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens, position, places, sizes)
        levels = torch.split(tokens, [h * w for h, w in sizes], dim=1)
        finest = levels[-1].transpose(1, 2).reshape(-1, levels[-1].shape[2], *sizes[-1])
        fine = self.lateral(maps[4])
        up = F.interpolate(finest, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.output(fine + up))
        masks = self.mask_features(x)
        if self.detail is not None:
            masks = self.detail(masks, x, maps[2])
        return frame_features(levels, sizes, masks)
