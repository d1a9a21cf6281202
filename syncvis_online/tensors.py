"""The network as functions of plain tensors, as it is converted and recorded: the order of what goes in and out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.pixel_decoder import LEVEL_STRIDES

LEVELS = len(LEVEL_STRIDES)


def level_sizes(size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(height, width) of the levels' maps, of a picture of that size."""
    return tuple((size[0] // stride, size[1] // stride) for stride in LEVEL_STRIDES)


def flat_features(features: FrameFeatures) -> tuple[Tensor, ...]:
    """Projected features as tensors: mask features, those of the levels, keys and values of each layer."""
    layers = [tensor for layer in features.projected for tensor in layer]
    return (features.mask_features, *features.level_masks, *layers)


def features_of(flat: Sequence[Tensor], sizes: tuple[tuple[int, int], ...]) -> FrameFeatures:
    """What `flat_features` took apart."""
    layers = flat[1 + LEVELS :]
    return FrameFeatures(
        levels=(),
        sizes=sizes,
        mask_features=flat[0],
        level_masks=tuple(flat[1 : 1 + LEVELS]),
        projected=tuple(zip(layers[::2], layers[1::2], strict=True)),
    )


def decoder_inputs(features: FrameFeatures, queries: Tensor) -> tuple[Tensor, ...]:
    """What the decoder looks at: v0, and the features without the mask features, which it needs at the levels only."""
    return (queries, *flat_features(features)[1:])


def decoder_features(flat: Sequence[Tensor], sizes: tuple[tuple[int, int], ...]) -> FrameFeatures:
    """The features of `decoder_inputs`, with mask features of no cells."""
    B, T, channels = flat[0].shape[:3]
    return features_of((flat[0].new_zeros(B, T, channels, 0, 0), *flat), sizes)


def decoder_output(flat: Sequence[Tensor]) -> DecoderOutput:
    """Logits and embeddings of the last layer's video branch, and v after the window."""
    logits, embeds, queries = flat
    return DecoderOutput((LayerPrediction(None, BranchPrediction(logits, embeds)),), queries)


class FlatEncoder(nn.Module):
    """Pictures (1, 3, H, W) uint8 -> `flat_features`, of which the mask features come as tokens (1, h w, Cm), row by
    row: as they lie in memory after the last convolution. OpenVINO took a ninth of the encoder's time to turn
    them round.
    """

    def __init__(self, model: SyncVIS) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode and project."""
        masks, *others = flat_features(self.model.decoder.project(self.model.encode(images)))
        return masks.flatten(2).transpose(1, 2), *others


def encoder_output(flat: Sequence[Tensor], size: tuple[int, int], mask_stride: int) -> FrameFeatures:
    """What `FlatEncoder` says of pictures (1, 3, *size)."""
    masks = flat[0].transpose(1, 2).view(1, -1, size[0] // mask_stride, size[1] // mask_stride)
    return features_of((masks, *flat[1:]), level_sizes(size))


class FlatDecoder(nn.Module):
    """`decoder_inputs` of one window -> logits (1, N, K+1), embeddings (1, N, Cm), v after it (1, N, C)."""

    def __init__(self, model: SyncVIS, size: tuple[int, int]) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.sizes = level_sizes(size)

    def forward(self, queries: Tensor, *features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode."""
        output = self.decoder(decoder_features(features, self.sizes), queries)
        said = output.layers[-1].video
        return said.logits, said.embeds, output.video_queries


def random_pictures(size: tuple[int, int], frames: int) -> list[Tensor]:
    """Pictures (1, 3, H, W) uint8 to convert with, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator) for _ in range(frames)
    ]
