"""What one step of training computes: windows decoded with carried queries, or a clip and its sub-clips."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from syncvis_online.criterion import Assignments, Criterion
from syncvis_online.features import FrameFeatures
from syncvis_online.memory import Memory
from syncvis_online.model import SyncVIS
from syncvis_online.targets import Targets


def carried_loss(
    model: SyncVIS,
    criterion: Criterion,
    features: FrameFeatures,
    targets: Targets,
    window_frames: int,
    windows: int,
    stride: int,
    forget: float = 0.0,
    rng: np.random.Generator | None = None,
) -> dict[str, Tensor]:
    """Consecutive windows through which the video queries flow with gradient (UVLA); mean of their terms.

    `features` (B*F, ...) of clips of F = window_frames + (ahead + windows - 1) * stride frames: `windows` counts the
    last ones, and those ahead of them are decoded without gradient, for what the queries carry. The rule of the
    tracker: a slot whose instance was seen, on a frame that the window answers, goes on from v, one whose instance
    is out of sight from its last seen v, frozen, and a slot that holds nothing starts from the learned query. A model
    with a memory takes an entry of every slot seen, after every window.

    Before each window but the first an instance loses its query with odds `forget`, drawn from `rng`, and is matched
    anew, as one that a tracker has missed for too long must be found by a free query in the midst of the others
    (TrackFormer, Meinhardt et al., CVPR 2022, section 3.3, drops track queries for it).
    """
    rng = rng or np.random.default_rng()
    B, F = targets.valid.shape[:2]
    base = torch.arange(B, device=targets.valid.device)[:, None] * F
    p = model.decoder.video_query.expand(B, -1, -1)
    held: Assignments | None = None
    remembered: list[tuple[Tensor, Tensor, Tensor]] = []
    total: dict[str, Tensor] = {}
    pooled = criterion.pooled(features.mask_features.unflatten(0, (B, F)), targets)
    ahead = (F - window_frames) // stride + 1 - windows
    for i in range(ahead + windows):
        if held is not None and forget:
            held, given_back = _forgotten(held, targets.labels.shape[1], forget, rng)
            given_back = given_back.to(p.device)
            p = torch.where(given_back[..., None], model.decoder.video_query, p)
            remembered = [(keys, values, used & ~given_back) for keys, values, used in remembered]
        index = list(range(i * stride, i * stride + window_frames))
        window = features.windows(base + torch.tensor(index, device=base.device))
        of_window = targets.frames(index)
        memory = Memory.stack(remembered) if remembered else None
        counted = i >= ahead
        with torch.set_grad_enabled(counted and torch.is_grad_enabled()):
            output = model.decode(window, model.carry(p, memory))
            terms, held = criterion(
                window, output, of_window, held, frame_terms=counted, pooled=pooled.frames(index)
            )
        if counted:
            for key, value in terms.items():
                total[key] = total.get(key, 0.0) + value / windows
        answered = of_window.frames(range(window_frames - min(stride, window_frames), window_frames))
        seen = _seen(held[-1], answered)
        p = torch.where(seen[..., None], output.video_queries.to(p.dtype), p)
        entry = model.remember(output.video_queries)  # W_k and W_v' learn from those ahead too
        if entry is not None:
            remembered.append((*entry, seen))
    return total


def _forgotten(
    held: Assignments, instances: int, odds: float, rng: np.random.Generator
) -> tuple[Assignments, Tensor]:
    """`held` without some of the instances, at every depth, and the queries that held these at the last, (B, N)."""
    gone = rng.random((held.shape[1], instances)) < odds
    lost = (held >= 0) & gone[np.arange(held.shape[1])[None, :, None], held.clip(min=0)]
    return np.where(lost, -1, held), torch.from_numpy(lost[-1])


def _seen(held: Assignments, targets: Targets) -> Tensor:
    """Which queries hold an instance that is visible on one of the frames, (B, N)."""
    present = targets.present().any(-1).cpu().numpy()
    seen = (held >= 0) & np.take_along_axis(present, held.clip(min=0), axis=1)
    return torch.from_numpy(seen).to(targets.masks.device)


def sub_clips(frames: int, size: int, extra: int | None, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Sub-clips of `size` frames: the adjacent ones, and at most `extra` random other combinations (None: all)."""
    adjacent = [tuple(range(i, i + size)) for i in range(frames - size + 1)]
    others = [c for c in combinations(range(frames), size) if c not in adjacent]
    drawn = rng.permutation(len(others))[:extra]
    return adjacent + [others[i] for i in sorted(drawn)]


def clip_loss(
    model: SyncVIS,
    criterion: Criterion,
    features: FrameFeatures,
    targets: Targets,
    clips: list[tuple[int, ...]],
) -> dict[str, Tensor]:
    """The whole clip with weight 1, and each sub-clip, decoded anew by itself, with the config's.

    `features` (B*T, ...). Keys: "{term}.{branch}.{depth}.{whole | frames of the sub-clip}". Sub-clips have no terms of
    the frame branch: their frames were counted with the whole clip.
    """
    B, T = targets.valid.shape[:2]
    base = torch.arange(B, device=targets.valid.device)[:, None] * T
    total: dict[str, Tensor] = {}
    for index in [tuple(range(T)), *(c for c in clips if len(c) < T)]:
        whole = len(index) == T
        window = features.windows(base + torch.tensor(index, device=base.device))
        terms, _ = criterion(window, model.decode(window), targets.frames(index), frame_terms=whole)
        name, weight = ("whole", 1.0) if whole else ("-".join(map(str, index)), criterion.config.sub_clip)
        for key, value in terms.items():
            total[f"{key}.{name}"] = weight * value
    return total
