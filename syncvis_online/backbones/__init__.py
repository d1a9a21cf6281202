"""Backbones by name. Each maps (B, 3, H, W) to maps at 1/4, 1/8, 1/16, 1/32 and says their `channels`."""

from __future__ import annotations

from syncvis_online.backbones.resnet import ResNet18
from syncvis_online.errors import ConfigError

__all__ = ["ResNet18", "build_backbone"]


def build_backbone(name: str, width: float) -> ResNet18:
    """The backbone of that name; `width` scales its channels. Raises ConfigError for an unknown name."""
    if name == "resnet18":
        return ResNet18(width)
    raise ConfigError(f"unknown backbone '{name}' (there is: resnet18)")
