"""Configs of the model and the tracker: frozen, validated where they are made, and equal to constructor arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict

from syncvis_online.types import LABELS
from syncvis_online.validation import STRICT, require, validated


class _Validated:
    """Shared by the configs below: built from a mapping, strictly, and back."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Build from plain values; `where` (a file, a checkpoint) goes into the message of a ConfigError."""
        return validated(cls, values, where)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values that `from_mapping` and JSON understand."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class ModelConfig(_Validated):
    """The architecture. Letters as in the paper: N queries, C channels, L layers, K classes.

    `short_side` is the size in pixels of the short side of the pictures that the model is trained on and run
    at; the long side follows the picture's shape, rounded to a multiple of 32.
    """

    labels: tuple[str, ...] = LABELS
    backbone: str = "resnet18"
    """One of `syncvis_online.backbones.BACKBONES`."""
    backbone_width: float = 0.5
    """Scales the channels of resnet18; the others have their published width."""
    drop_path: float = 0.0
    """Stochastic depth of Swin's last block in training; it grows to it from zero over the blocks."""
    pixel_decoder: Literal["fpn", "deformable"] = "fpn"
    """The light one, or Mask2Former's multi-scale deformable attention."""
    pixel_decoder_layers: int = 6
    pixel_decoder_ffn_channels: int = 1024
    """Layers and FFN of the deformable pixel decoder."""
    channels: int = 128
    mask_channels: int = 64
    mask_stride: Literal[2, 4] = 4
    """Pixels of the input on each side of a cell of the mask features."""
    queries: int = 40
    layers: int = 3
    heads: int = 4
    ffn_channels: int = 512
    structure: Literal["synchronous", "cascade", "video_only"] = "synchronous"
    """Frame and video queries side by side (SyncVIS), one after the other, or video queries alone."""
    synchronize: Literal["both", "frame_to_video", "video_to_frame"] = "both"
    """Directions of the exchange between the branches (synchronous only)."""
    synchronize_order: Literal["frame_first", "video_first"] = "frame_first"
    """Which direction comes first; the paper's figure: frame to video."""
    synchronize_weight: float = 0.05
    """lambda: the share of the other branch in each aggregation (synchronized video-frame modeling)."""
    synchronize_top_k: int = 10
    """Nk: how many queries of each frame (and of the video) the other branch sees."""
    confidence: Literal["top2", "top1"] = "top2"
    """Confidence of a query: sum of its two largest foreground softmax scores, or the largest."""
    memory_entries: int = 0
    """M: how many of its past states a slot remembers (GenVIS); 0: carried queries are all."""
    similarity: bool = False
    """Two projections for the similarity loss (CriterionConfig.similarity); inference does not use them."""
    short_side: int = 192

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(len(self.labels) > 0, "labels must not be empty")
        require(self.channels % self.heads == 0, "channels must be a multiple of heads")
        require(self.channels % 4 == 0, "channels must be a multiple of 4 (2-D sine encoding)")
        for name in ("channels", "mask_channels", "queries", "layers", "heads", "ffn_channels"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("pixel_decoder_layers", "pixel_decoder_ffn_channels"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        require(
            self.pixel_decoder == "fpn" or self.channels % 32 == 0,
            "channels must be a multiple of 32 for the deformable pixel decoder (group normalisation)",
        )
        require(0.0 <= self.drop_path < 1.0, "drop_path must be in [0, 1)")
        require(
            not self.similarity or self.structure != "video_only",
            "similarity needs a structure with frame queries",
        )
        require(self.backbone_width > 0.0, "backbone_width must be greater than 0")
        require(0.0 <= self.synchronize_weight <= 1.0, "synchronize_weight must be in [0, 1]")
        require(1 <= self.synchronize_top_k <= self.queries, "synchronize_top_k must be in [1, queries]")
        require(self.memory_entries >= 0, "memory_entries must not be negative")
        require(self.mask_stride in (2, 4), "mask_stride must be 2 or 4")
        require(self.short_side >= 32 and self.short_side % 32 == 0, "short_side must be a multiple of 32")


@dataclass(frozen=True, slots=True)
class TrackerConfig(_Validated):
    """Windows and the life of a slot (docs/model.md). Scores are in [0, 1], times in seconds."""

    window_frames: int = 2
    """Ts: frames of a window."""
    stride: int = 1
    """s: a window starts every s frames; 1 answers every frame at once."""
    birth_score: float = 0.5
    """A free slot at least this confident begins a track."""
    keep_score: float = 0.3
    """A track at least this confident is seen on a frame, and answered."""
    tentative_s: float = 0.0
    """A new track is tentative, followed but not answered, until it was seen for so long without a break."""
    max_lost_s: float = 2.0
    """A track not seen for longer is retired: its slot is free again, its id never given again."""
    reidentify_s: float = 2.0
    """For so long after it was seen last an identity may be found again, in any slot, by its motion and looks
    (syncvis_online.identities); 0: an identity is a slot, for `max_lost_s`."""
    coast_s: float = 0.0
    """A lost track is still answered for so long, without a mask, with the box of when it was last seen."""
    spare_slots: int = 2
    """When fewer slots are free, the tracks that are lost for the longest are retired before their time."""
    memory_interval_s: float = 0.5
    """At least so long lies between two entries of a slot's memory, so that it spans occlusions at any frame rate."""
    duplicate_iou: float = 0.6
    """A mask that overlaps a better one by more is a duplicate."""
    min_area: int = 4
    """Smallest mask that counts as seen, in cells of the mask features."""
    short_side: int = 0
    """Pictures are shrunk until their short side has so many pixels, a multiple of 32: fewer are faster, and small
    objects are lost. 0: as the model was trained."""
    association: Literal["propagate", "propagate_iou", "cosine", "iou", "graph"] = "propagate"
    """How a window's queries are those of the windows before: see syncvis_online.association."""

    @property
    def forgotten_s(self) -> float:
        """After so long out of sight an identity never comes back, in seconds."""
        return max(self.max_lost_s, self.reidentify_s)

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(self.window_frames >= 1, "window_frames must be at least 1")
        require(1 <= self.stride <= self.window_frames, "stride must be in [1, window_frames]")
        for name in ("birth_score", "keep_score", "duplicate_iou"):
            require(0.0 <= getattr(self, name) <= 1.0, f"{name} must be in [0, 1]")
        require(self.spare_slots >= 0, "spare_slots must not be negative")
        for name in ("tentative_s", "max_lost_s", "reidentify_s", "coast_s", "memory_interval_s"):
            require(getattr(self, name) >= 0.0, f"{name} must not be negative")
        require(self.min_area >= 1, "min_area must be at least 1")
        require(
            self.short_side >= 0 and self.short_side % 32 == 0, "short_side must be 0 or a multiple of 32"
        )
