"""Backbones by name. Each maps (B, 3, H, W) to maps by stride: 4, 8, 16, 32, and 2 where it has one.

`channels` names the channels of each, in the same order.
"""

from __future__ import annotations

from syncvis_online.backbones.resnet import ResNet18
from syncvis_online.errors import ConfigError

__all__ = ["ResNet18", "build_backbone"]


def build_backbone(name: str, width: float) -> ResNet18:
    """The backbone of that name; `width` scales its channels. Raises ConfigError for an unknown name."""
    if name == "resnet18":
        return ResNet18(width)
    raise ConfigError(f"unknown backbone '{name}' (there is: resnet18)")
