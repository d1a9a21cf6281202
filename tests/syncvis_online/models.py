"""Small models with random weights for tests of the model's own rules; no trained weights are needed for those."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from syncvis_online.checkpoint import Checkpoint
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.model import SyncVIS

TINY = ModelConfig(
    backbone_width=0.125,
    channels=16,
    mask_channels=8,
    queries=10,
    layers=3,
    heads=2,
    ffn_channels=32,
    synchronize_top_k=4,
    synchronize_weight=0.2,
    short_side=64,
)


def tiny_model(seed: int = 0, config: ModelConfig = TINY) -> SyncVIS:
    """A model in eval mode, float64 so that rounding does not flip attention masks, with W_v not zero."""
    torch.manual_seed(seed)
    model = SyncVIS(config)
    torch.nn.init.normal_(model.propagate.weight, std=0.1)
    torch.nn.init.normal_(model.decoder.class_head.weight, std=0.5)
    return model.double().eval()


def tiny_checkpoint(tracker: TrackerConfig, seed: int = 0) -> Checkpoint:
    """The tiny model as if it had been loaded."""
    return Checkpoint(tiny_model(seed), tracker, {})


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (72, 128)) -> list[NDArray[np.uint8]]:
    """Smooth random pictures that drift, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    height, width = size
    base = rng.integers(0, 256, (height // 8, 2 * width // 8, 3)).repeat(8, 0).repeat(8, 1)
    return [np.ascontiguousarray(base[:, 3 * i : 3 * i + width]).astype(np.uint8) for i in range(count)]
