"""Backbones by name. Each maps (B, 3, H, W) to maps by stride: 4, 8, 16, 32, and 2 where it has one.

`channels` names the channels of each, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from syncvis_online.backbones.resnet import ResNet, ResNet18
from syncvis_online.backbones.swin import SwinTransformer
from syncvis_online.errors import ConfigError

__all__ = ["BACKBONES", "Backbone", "ResNet", "ResNet18", "SwinTransformer", "build_backbone"]


class Backbone(Protocol):
    """What the pixel decoders need of a backbone."""

    stages: nn.ModuleList
    """Blocks by stage."""

    @property
    def channels(self) -> Mapping[int, int]:
        """Channels of each map, by stride."""
        ...

    def __call__(self, x: Tensor) -> dict[int, Tensor]:
        """Pictures (B, 3, H, W), normalised -> maps (B, channels[s], H/s, W/s) by stride s."""
        ...


BACKBONES: Mapping[str, Callable[[float, float], Backbone]] = {
    "resnet18": lambda width, drop: ResNet18(width),
    "resnet50": lambda width, drop: ResNet((3, 4, 6, 3)),
    "resnet101": lambda width, drop: ResNet((3, 4, 23, 3)),
    "swin_tiny": lambda width, drop: SwinTransformer(96, (2, 2, 6, 2), (3, 6, 12, 24), 7, drop),
    "swin_small": lambda width, drop: SwinTransformer(96, (2, 2, 18, 2), (3, 6, 12, 24), 7, drop),
    "swin_base": lambda width, drop: SwinTransformer(128, (2, 2, 18, 2), (4, 8, 16, 32), 12, drop),
    "swin_large": lambda width, drop: SwinTransformer(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, drop),
}
"""Constructors by name, of the width (ResNet-18 only) and the rate of stochastic depth (Swin only)."""


def build_backbone(name: str, width: float = 1.0, drop_path: float = 0.0) -> Backbone:
    """The backbone of that name. Raises ConfigError for an unknown one."""
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone '{name}' (there are: {', '.join(BACKBONES)})")
    return BACKBONES[name](width, drop_path)
