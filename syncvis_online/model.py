"""SyncVIS: encoder, synchronized decoder and the propagation of video queries between windows.

Owns parameters and nothing else: the state of a stream is a value that callers hold (see tracker.py).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from syncvis_online.backbones import build_backbone
from syncvis_online.config import ModelConfig
from syncvis_online.decoder import DecoderOutput, SynchronizedDecoder
from syncvis_online.deformable import DeformablePixelDecoder
from syncvis_online.features import FrameFeatures
from syncvis_online.memory import Memory, QueryMemory
from syncvis_online.pixel_decoder import FPNPixelDecoder

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class SyncVIS(nn.Module):
    """The model. `encode` frames once, `decode` windows of them, `carry` video queries to the next window."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.backbone_width, config.drop_path)
        self.pixel_decoder = self._pixel_decoder()
        self.decoder = SynchronizedDecoder(config)
        self.propagate = nn.Linear(config.channels, config.channels, bias=False)  # W_v
        nn.init.zeros_(self.propagate.weight)
        self.memory = QueryMemory(config.channels) if config.memory_entries else None
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def _pixel_decoder(self) -> nn.Module:
        config = self.config
        sizes = (config.channels, config.mask_channels, config.heads, config.mask_stride)
        if config.pixel_decoder == "fpn":
            return FPNPixelDecoder(self.backbone.channels, *sizes)
        return DeformablePixelDecoder(
            self.backbone.channels,
            *sizes,
            layers=config.pixel_decoder_layers,
            ffn_channels=config.pixel_decoder_ffn_channels,
        )

    def encode(self, images: Tensor) -> FrameFeatures:
        """Pictures (B, 3, H, W), RGB, 0 to 255, H and W multiples of 32 -> features with axes (B, ...)."""
        x = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        return self.pixel_decoder(self.backbone(x.contiguous(memory_format=torch.channels_last)))

    def decode(
        self, features: FrameFeatures, video_queries: Tensor | None = None, *, answer_only: bool = False
    ) -> DecoderOutput:
        """Windows (B, T, ...) of features, with v0 (B, N, C) or from the learned video queries. `answer_only`: what a
        tracker needs, see `SynchronizedDecoder.forward`.
        """
        first = self.initial_queries(features) if video_queries is None else video_queries
        return self.decoder(features, first, answer_only=answer_only)

    def initial_queries(self, features: FrameFeatures) -> Tensor:
        """v0 of a first window: q + W_v q of the learned video queries q, (B, N, C)."""
        B = features.mask_features.shape[0]
        return self.carry(self.decoder.video_query.expand(B, -1, -1))

    def carry(self, previous: Tensor, memory: Memory | None = None) -> Tensor:
        """v0 of the next window: p + W_v p, and z, what each slot reads from its own memory (GenVIS), (..., N, C)."""
        carried: Tensor = previous + self.propagate(previous)
        if self.memory is None or memory is None:
            return carried
        return carried + self.memory.read(previous, memory)

    def remember(self, video_queries: Tensor) -> tuple[Tensor, Tensor] | None:
        """Key and value that a slot's memory takes of v after a window (..., N, C); None for a model without one."""
        return None if self.memory is None else self.memory.entries(self.decoder.norm(video_queries))

    def input_size(self, height: int, width: int, short_side: int = 0) -> tuple[int, int]:
        """Size (H, W) at which a picture is encoded: the short side fixed, 0 as trained, the long a multiple of 32."""
        short = short_side or self.config.short_side
        long = int(short * max(height, width) / min(height, width) / 32) * 32
        long = int(np.clip(long, short, 2 * short))
        return (short, long) if height <= width else (long, short)
