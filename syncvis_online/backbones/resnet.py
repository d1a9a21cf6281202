"""Residual networks (He et al., CVPR 2016): ResNet-50 and -101 as published, with the stride in the 3x3 convolution,
and a ResNet-18 with the three-convolution stem of ResNet-C (He et al., CVPR 2019), whose width can be scaled.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGE_BLOCKS = (2, 2, 2, 2)


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(inputs, outputs, 3, stride)
        self.conv2 = conv_norm(outputs, outputs, 3)
        changed = stride != 1 or inputs != outputs
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if changed else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        norm = self.conv2[1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)  # each block starts as its shortcut (Goyal et al., 2017)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        out: Tensor = self.relu(self.conv2(self.relu(self.conv1(x))) + self.shortcut(x))
        return out


class _Stages(nn.Module):
    """A stem to 1/2, a pool to 1/4, and four stages: what all residual networks have in common."""

    stem: nn.Sequential
    pool: nn.MaxPool2d
    stages: nn.ModuleList

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Maps by stride, from fine to coarse."""
        x = self.stem(x)
        maps = {2: x}
        x = self.pool(x)
        for stride, stage in zip((4, 8, 16, 32), self.stages, strict=True):
            x = stage(x)
            maps[stride] = x
        return maps


class ResNet18(_Stages):
    """(B, 3, H, W) pictures, normalised, to maps at strides 2 to 32, stride s with `channels[s]` channels."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        widths = tuple(int(c * width) for c in (64, 128, 256, 512))
        stem = widths[0]
        self.channels = dict(zip((2, 4, 8, 16, 32), (stem, *widths), strict=True))
        self.stem = nn.Sequential(
            conv_norm(3, stem // 2, 3, 2),
            nn.ReLU(inplace=True),
            conv_norm(stem // 2, stem // 2, 3),
            nn.ReLU(inplace=True),
            conv_norm(stem // 2, stem, 3),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        stages, inputs = [], stem
        for i, (outputs, blocks) in enumerate(zip(widths, STAGE_BLOCKS, strict=True)):
            first = BasicBlock(inputs, outputs, stride=1 if i == 0 else 2)
            stages.append(nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1))))
            inputs = outputs
        self.stages = nn.ModuleList(stages)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the output has four times `width` channels."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = conv_norm(inputs, width, 1)
        self.conv2 = conv_norm(width, width, 3, stride)
        self.conv3 = conv_norm(width, outputs, 1)
        changed = stride != 1 or inputs != outputs
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if changed else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H/stride, W/stride)."""
        out = self.conv3(self.relu(self.conv2(self.relu(self.conv1(x)))))
        summed: Tensor = self.relu(out + self.shortcut(x))
        return summed


class ResNet(_Stages):
    """The deep form: `blocks` bottlenecks in each of four stages. Same contract as ResNet18."""

    def __init__(self, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        widths = (64, 128, 256, 512)
        self.channels = dict(zip((2, 4, 8, 16, 32), (64, *(4 * w for w in widths)), strict=True))
        self.stem = nn.Sequential(conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        stages, inputs = [], 64
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = Bottleneck(inputs, width, stride=1 if i == 0 else 2)
            inputs = 4 * width
            stages.append(nn.Sequential(first, *(Bottleneck(inputs, width, 1) for _ in range(count - 1))))
        self.stages = nn.ModuleList(stages)
