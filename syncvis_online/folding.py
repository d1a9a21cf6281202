"""Batch normalisations folded into the convolutions before them: the same function with a pass over each map less."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module) -> int:
    """Fold in place, for inference only, and say how many. The model must be in eval mode; raises ValueError if not."""
    if model.training:
        raise ValueError("a model that is being trained needs its batch normalisations")
    folded = 0
    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i, (before, after) in enumerate(pairwise(module)):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                module[i], module[i + 1] = fuse_conv_bn_eval(before, after), nn.Identity()
                folded += 1
    return folded
