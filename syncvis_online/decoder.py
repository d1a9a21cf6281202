"""The synchronized decoder (SyncVIS): frame queries and video queries in one set of layers.

Each layer's {masked cross-attention, self-attention, FFN} serves both branches; then each branch takes a share
lambda of the other's most confident queries. The structures that the paper compares with are here too: frame queries
first and video queries made of them (cascade), and video queries alone. Knows nothing of windows before or after:
carried queries arrive as `video_queries`.

Axis letters: B windows, T frames, N queries, C channels, K classes, S tokens of a level, Cm mask channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncvis_online.config import ModelConfig
from syncvis_online.features import FrameFeatures
from syncvis_online.position_encoding import sine_position_encoding


@dataclass(frozen=True, slots=True)
class BranchPrediction:
    """One branch after one layer: `logits` (..., N, K+1), the last class is no-object; `embeds` (..., N, Cm).

    `...` is (B, T) in the frame branch and (B,) in the video branch. Mask logits are the product of `embeds`
    with mask features: a frame's own for its frame queries, every frame's for the video queries.
    """

    logits: Tensor
    embeds: Tensor


@dataclass(frozen=True, slots=True)
class LayerPrediction:
    """Both branches' predictions at one depth; depth 0 is before the first layer. No frame branch: None."""

    frame: BranchPrediction | None
    video: BranchPrediction
    similarity: Tensor | None = None
    """Logits (B, T, N, N) of a frame query (third axis) and a video query (last) being one instance; for the loss."""


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """`layers`: L+1 predictions, the last is the answer; `video_queries`: v after the window, (B, N, C)."""

    layers: tuple[LayerPrediction, ...]
    video_queries: Tensor


def confidence(logits: Tensor, kind: str) -> Tensor:
    """Confidence of queries from class logits (..., N, K+1): (..., N), in [0, 1].

    "top2" sums the two largest foreground probabilities, "top1" takes the largest.
    """
    foreground = logits.softmax(-1)[..., :-1]
    k = min(2 if kind == "top2" else 1, foreground.shape[-1])
    return foreground.topk(k, dim=-1).values.sum(-1)


def most_confident(queries: Tensor, logits: Tensor, k: int, kind: str) -> Tensor:
    """The k most confident queries of each set: (..., N, C), (..., N, K+1) -> (..., k, C)."""
    best = confidence(logits.detach(), kind).topk(k, dim=-1).indices
    return queries.gather(-2, best[..., None].expand(*best.shape, queries.shape[-1]))


def blocked_by(mask_logits: Tensor) -> Tensor:
    """Attention mask (Mask2Former, eq. 3): True where the predicted mask is below 0.5.

    A row that would block every token is opened. `mask_logits`: (..., N, S).
    """
    blocked = mask_logits < 0
    return blocked & ~blocked.all(dim=-1, keepdim=True)


class Attention(nn.Module):
    """Multi-head attention with separate projections, so that keys serve several sets of queries."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Projected query (G, N, C) over projected key and value (G, S, C) -> (G, N, C) before `output`."""
        allowed = None if blocked is None else ~blocked[:, None]
        mixed = F.scaled_dot_product_attention(
            self._split(query), self._split(key), self._split(value), attn_mask=allowed
        )
        return mixed.transpose(-2, -3).flatten(-2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(G, N, C) over (G, S, C)."""
        out: Tensor = self.output(self.attend(self.query(query), self.key(key), self.value(value)))
        return out


def mlp(*channels: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(channels)):
        layers += ([nn.ReLU(inplace=True)] if i else []) + [nn.Linear(a, b)]
    return nn.Sequential(*layers)


class DecoderLayer(nn.Module):
    """One layer of Mask2Former's decoder: masked cross-attention, self-attention, FFN, each with its norm after it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C = config.channels
        self.config = config
        self.cross_attention = Attention(C, config.heads)
        self.self_attention = Attention(C, config.heads)
        self.ffn = mlp(C, config.ffn_channels, C)
        self.cross_norm, self.self_norm, self.ffn_norm = nn.LayerNorm(C), nn.LayerNorm(C), nn.LayerNorm(C)

    def alone(
        self, x: Tensor, position: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None
    ) -> Tensor:
        """CA, SA and FFN of sets of queries (G, N, C) with their `position` (N, C), over S tokens' keys and values
        (G, S, C), which are projected already.
        """
        attention = self.cross_attention
        mixed = attention.attend(attention.query(x + position), keys, values, blocked)
        x = self.cross_norm(x + attention.output(mixed))
        x = self.self_norm(x + self.self_attention(x + position, x + position, x))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class SynchronizedLayer(DecoderLayer):
    """The layer for both branches at once, then frame -> video and video -> frame aggregation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        C = config.channels
        self.video_ffn, self.frame_ffn = mlp(C, C, C), mlp(C, C, C)
        self.frame_to_video = Attention(C, config.heads)
        self.video_to_frame = Attention(C, config.heads)

    def _cross(
        self,
        f: Tensor,
        v: Tensor,
        position: tuple[Tensor, Tensor],
        tokens: tuple[Tensor, Tensor],
        blocked: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Masked cross-attention; keys and values were projected once for both branches."""
        attention = self.cross_attention
        keys, values = tokens
        B, T, S, C = keys.shape
        frame = attention.attend(
            attention.query(f + position[0]).flatten(0, 1),
            keys.flatten(0, 1),
            values.flatten(0, 1),
            blocked[0],
        )
        video = attention.attend(
            attention.query(v + position[1]),
            keys.reshape(B, T * S, C),
            values.reshape(B, T * S, C),
            blocked[1],
        )
        both = attention.output(torch.cat((frame.unflatten(0, (B, T)), video[:, None]), dim=1))
        both = self.cross_norm(torch.cat((f, v[:, None]), dim=1) + both)
        return both[:, :T], both[:, T]

    def _self_and_ffn(self, f: Tensor, v: Tensor, position: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Self-attention within each set of queries and the FFN, all T+1 sets in one call."""
        B, T, N, C = f.shape
        x = torch.cat((f, v[:, None]), dim=1).flatten(0, 1)
        where = (
            torch.cat((position[0].expand(T, N, C), position[1][None])).expand(B, T + 1, N, C).flatten(0, 1)
        )
        x = self.self_norm(x + self.self_attention(x + where, x + where, x))
        frames, video = self.ffn_norm(x + self.ffn(x)).unflatten(0, (B, T + 1)).split((T, 1), dim=1)
        return frames, video[:, 0]

    def aggregate_frames(self, f: Tensor, v: Tensor, frame_logits: Tensor) -> Tensor:
        """frame -> video: v <- (1-lambda) v + lambda MHA(FFN_v(v), R_f, R_f)."""
        weight = self.config.synchronize_weight
        best = most_confident(f, frame_logits, self.config.synchronize_top_k, self.config.confidence).flatten(
            1, 2
        )
        return (1 - weight) * v + weight * self.frame_to_video(self.video_ffn(v), best, best)

    def aggregate_video(self, f: Tensor, v: Tensor, video_logits: Tensor) -> Tensor:
        """video -> frame: f_t <- (1-lambda) f_t + lambda MHA(FFN_f(f_t), R_v, R_v)."""
        weight = self.config.synchronize_weight
        T = f.shape[1]
        best = most_confident(v, video_logits, self.config.synchronize_top_k, self.config.confidence)
        best = best.repeat_interleave(T, dim=0)
        mixed = self.video_to_frame(self.frame_ffn(f).flatten(0, 1), best, best)
        return (1 - weight) * f + weight * mixed.unflatten(0, (-1, T))

    def forward(
        self,
        f: Tensor,
        v: Tensor,
        position: tuple[Tensor, Tensor],
        tokens: tuple[Tensor, Tensor],
        blocked: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The layer without aggregation. f (B, T, N, C), v (B, N, C).

        `position`: of frame and video queries, (N, C) each; `tokens`: projected keys and values, (B, T, S, C);
        `blocked`: (B*T, N, S) and (B, N, T*S).
        """
        f, v = self._cross(f, v, position, tokens, blocked)
        return self._self_and_ffn(f, v, position)


class SynchronizedDecoder(nn.Module):
    """L synchronized layers with heads shared by both branches."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, N = config.channels, config.queries
        self.config = config
        self.frame_query, self.frame_position = (
            nn.Parameter(torch.randn(N, C)),
            nn.Parameter(torch.randn(N, C)),
        )
        self.video_query, self.video_position = (
            nn.Parameter(torch.randn(N, C)),
            nn.Parameter(torch.randn(N, C)),
        )
        self.level_embedding = nn.Parameter(torch.randn(3, C))
        layer = SynchronizedLayer if config.structure == "synchronous" else DecoderLayer
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers))
        if config.structure == "cascade":
            self.video_layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(C)
        self.class_head = nn.Linear(C, len(config.labels) + 1)
        self.mask_head = mlp(C, C, C, config.mask_channels)
        if config.similarity:
            self.similarity_frame, self.similarity_video = nn.Linear(C, C), nn.Linear(C, C)

    def predict(self, queries: Tensor) -> BranchPrediction:
        """Heads: class logits and mask embeddings of any set of queries (..., N, C)."""
        x = self.norm(queries)
        return BranchPrediction(self.class_head(x), self.mask_head(x))

    def classify(self, queries: Tensor) -> Tensor:
        """Class logits only, (..., N, K+1)."""
        logits: Tensor = self.class_head(self.norm(queries))
        return logits

    def _both(self, f: Tensor, v: Tensor) -> LayerPrediction:
        """Predictions of both branches, f (B, T, N, C) and v (B, N, C)."""
        return LayerPrediction(self.predict(f), self.predict(v), self._similarity(f, v))

    def _similarity(self, f: Tensor, v: Tensor) -> Tensor | None:
        """How alike each frame query and each video query are, (B, T, N, N); None where it is not learned."""
        if not self.config.similarity:
            return None
        of_frames, of_video = self.similarity_frame(self.norm(f)), self.similarity_video(self.norm(v))
        similarity: Tensor = f.shape[-1] ** -0.5 * of_frames @ of_video[:, None].transpose(-1, -2)
        return similarity

    def _tokens(self, features: FrameFeatures, level: int) -> tuple[Tensor, Tensor]:
        values = features.levels[level] + self.level_embedding[level]
        height, width = features.sizes[level]
        position = sine_position_encoding(
            height, width, values.shape[-1], device=values.device, dtype=values.dtype
        )
        return values + position, values

    def project(self, features: FrameFeatures) -> FrameFeatures:
        """With keys and values of each layer, and without the maps that they were made of: once a frame, for all
        windows that hold it.
        """
        projected = tuple(self._projected(features, i) for i in range(len(self.layers)))
        return replace(features, levels=(), projected=projected)

    def _projected(self, features: FrameFeatures, i: int) -> tuple[Tensor, Tensor]:
        """Keys and values of layer i, (..., S, C)."""
        if features.projected:
            return features.projected[i]
        layer = self.layers[i]
        assert isinstance(layer, DecoderLayer)
        keys, values = self._tokens(features, i % 3)
        return layer.cross_attention.key(keys), layer.cross_attention.value(values)

    @staticmethod
    @torch.no_grad()
    def _blocked_frames(embeds: Tensor, features: FrameFeatures, level: int) -> Tensor:
        """The frame branch's attention masks at a level, from its own prediction (B, T, N, Cm): (B*T, N, S)."""
        return blocked_by((embeds @ features.level_masks[level]).flatten(0, 1))

    @staticmethod
    @torch.no_grad()
    def _blocked_video(embeds: Tensor, features: FrameFeatures, level: int) -> Tensor:
        """The video branch's attention masks at a level, from its own prediction (B, N, Cm): (B, N, T*S)."""
        return blocked_by((embeds[:, None] @ features.level_masks[level]).transpose(1, 2).flatten(2))

    def _synchronize(
        self, layer: SynchronizedLayer, f: Tensor, v: Tensor, *, for_video: bool
    ) -> tuple[Tensor, Tensor]:
        """Both directions, or one; the second sees what the first has made. `for_video`: nobody reads f any more."""
        if self.config.synchronize_weight == 0.0:
            return f, v
        steps = ["frame_to_video", "video_to_frame"]
        if self.config.synchronize_order == "video_first":
            steps.reverse()
        elif for_video:
            steps.pop()
        for step in steps:
            if self.config.synchronize not in ("both", step):
                continue
            if step == "frame_to_video":
                v = layer.aggregate_frames(f, v, self.classify(f))
            else:
                f = layer.aggregate_video(f, v, self.classify(v))
        return f, v

    def forward(
        self, features: FrameFeatures, video_queries: Tensor | None = None, *, answer_only: bool = False
    ) -> DecoderOutput:
        """Decode windows.

        `features`: of frames in windows, (B, T, ...). `video_queries`: v0 of each window, (B, N, C); the
        learned ones where None. `answer_only`: without what the video branch, which is the answer, does not hear of
        the frame branch: what that says in the end, and all of it with lambda 0, as of imported weights.
        """
        B, T = features.mask_features.shape[:2]
        f = self.frame_query.expand(B, T, -1, -1)
        v = self.video_query.expand(B, -1, -1) if video_queries is None else video_queries
        if self.config.structure == "synchronous":
            if answer_only and self.config.synchronize_weight == 0.0:
                return self._video_only(features, v)
            return self._synchronous(features, f, v, answer_only=answer_only)
        if self.config.structure == "cascade":
            return self._cascade(features, f, v)
        return self._video_only(features, v)

    def _synchronous(
        self, features: FrameFeatures, f: Tensor, v: Tensor, *, answer_only: bool
    ) -> DecoderOutput:
        """SyncVIS: both branches side by side, exchanging after every layer."""
        position = (self.frame_position, self.video_position)
        predictions = [self._both(f, v)]
        for i, layer in enumerate(self._layers(self.layers)):
            level, last = i % 3, predictions[-1]
            assert last.frame is not None
            assert isinstance(layer, SynchronizedLayer)
            blocked = (
                self._blocked_frames(last.frame.embeds, features, level),
                self._blocked_video(last.video.embeds, features, level),
            )
            f, v = layer(f, v, position, self._projected(features, i), blocked)
            for_video = answer_only and i == len(self.layers) - 1
            f, v = self._synchronize(layer, f, v, for_video=for_video)
            predictions.append(LayerPrediction(None, self.predict(v)) if for_video else self._both(f, v))
        return DecoderOutput(tuple(predictions), v)

    def _cascade(self, features: FrameFeatures, f: Tensor, v: Tensor) -> DecoderOutput:
        """The cascade that the paper compares with, as in VITA (Heo et al., NeurIPS 2022): frame queries run through
        all layers by themselves; then video queries, through layers of their own, over the frames' finished queries.
        """
        B, T, N, C = f.shape
        frames, said = [f], [self.predict(f)]
        for i, layer in enumerate(self._layers(self.layers)):
            keys, values = self._projected(features, i)
            blocked = self._blocked_frames(said[-1].embeds, features, i % 3)
            keys, values = keys.flatten(0, 1), values.flatten(0, 1)
            f = layer.alone(f.flatten(0, 1), self.frame_position, keys, values, blocked).view(B, T, N, C)
            frames.append(f)
            said.append(self.predict(f))
        values = f.flatten(1, 2)
        keys = (f + self.frame_position).flatten(1, 2)
        videos = [v]
        for layer in self._layers(self.video_layers):
            key, value = layer.cross_attention.key(keys), layer.cross_attention.value(values)
            v = layer.alone(v, self.video_position, key, value, None)
            videos.append(v)
        predictions = tuple(
            LayerPrediction(frame, self.predict(video), self._similarity(queries, video))
            for frame, queries, video in zip(said, frames, videos, strict=True)
        )
        return DecoderOutput(predictions, v)

    def _video_only(self, features: FrameFeatures, v: Tensor) -> DecoderOutput:
        """Video queries alone, as in Mask2Former-VIS (Cheng et al., arXiv 2112.10764)."""
        videos = [self.predict(v)]
        for i, layer in enumerate(self._layers(self.layers)):
            keys, values = self._projected(features, i)
            blocked = self._blocked_video(videos[-1].embeds, features, i % 3)
            v = layer.alone(v, self.video_position, keys.flatten(1, 2), values.flatten(1, 2), blocked)
            videos.append(self.predict(v))
        return DecoderOutput(tuple(LayerPrediction(None, video) for video in videos), v)

    @staticmethod
    def _layers(layers: nn.ModuleList) -> Iterator[DecoderLayer]:
        for layer in layers:
            assert isinstance(layer, DecoderLayer)
            yield layer
