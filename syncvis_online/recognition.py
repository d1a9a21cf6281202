"""Evidence of who is who that is learned: what an object looks like as a direction, and log-odds of pairs.

Two small networks that belong to a checkpoint, for they read its queries: `Appearance` makes a vector of an object
(contrastive, as in IDOL, ECCV 2022, and CTVIS, ICCV 2023), `PairNetwork` says from cues of motion, size, colours,
class and those vectors how likely an object of a frame is somebody who is known. Owns both and the cues; how they are
trained is known in training/recognition.py. On the processor, in float32, whatever computes the rest: they are small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from syncvis_online.evidence import RULES, box_ious, offsets, other_classes, unlike
from syncvis_online.identities import UNUSED, Floats, Following, Identities, Rows, Sightings

CROP = (16, 12)
"""Height and width of the cut-out picture of an object."""
LOOKS = 32
"""Numbers of what an object looks like."""
CUES = (
    *("distance", "overlap", "overlap_before", "across", "down", "across_before", "down_before", "along"),
    *("feet", "speed", "width", "height", "upper_color", "lower_color", "label", "looks", "newest_looks"),
    *("away", "log_away", "age", "score", "same_slot", "other_slot"),
    *("distance_to_rival", "distance_to_other", "looks_to_rival", "looks_to_other"),
)
"""What a pair network reads, in this order: see `pair_cues`."""
FOLLOWING = replace(RULES.following, looks_s=0.5)
PREDICT_S = 2.0
"""Who is unseen goes on as before for so long."""


@dataclass(frozen=True, slots=True)
class Views:
    """What `Appearance` sees of n objects.

    vectors (n, D) float32: the slot's query, its mask embedding, and the mean of the mask features inside the mask, one
    after the other; crops (n, *CROP, 4) uint8: RGB, and 255 inside the mask.
    """

    vectors: NDArray[np.float32]
    crops: NDArray[np.uint8]


def crop(inside: NDArray[np.bool_], picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rectangle around a mask, of the mask (h, w) and of the picture (h, w, 3), RGB, 0 to 255: (*CROP, 4)."""
    both = np.empty((*inside.shape, 4), dtype=np.float32)
    both[..., :3] = picture
    both[..., 3] = 255.0 * inside
    how = cv2.INTER_AREA if inside.size >= CROP[0] * CROP[1] else cv2.INTER_LINEAR
    resized = cv2.resize(both, CROP[::-1], interpolation=how)
    return np.asarray(resized.clip(0, 255), dtype=np.uint8)


class Appearance(nn.Module):
    """What n objects look like: unit vectors (n, LOOKS), the closer the more alike."""

    def __init__(self, vectors: int) -> None:
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(4, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * (CROP[0] // 4) * (CROP[1] // 4), 64),
        )
        self.vector = nn.Sequential(nn.LayerNorm(vectors), nn.Linear(vectors, 64))
        self.dropout = nn.Dropout(0.1)
        self.both = nn.Sequential(nn.Linear(128, 96), nn.ReLU(), nn.Linear(96, LOOKS))

    def forward(self, vectors: Tensor, crops: Tensor) -> Tensor:
        """Vectors (n, D) float32 and crops (n, *CROP, 4) of 0 to 255: (n, LOOKS)."""
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        mask = pixels[:, 3:]
        seen = self.picture(torch.cat([(pixels[:, :3] - 0.45) * mask * 2, mask], dim=1))
        said = self.vector(vectors)
        return normalize(self.both(self.dropout(relu(torch.cat([seen, said], dim=1)))), dim=1)


class PairNetwork(nn.Module):
    """Cues (..., len(CUES)) to log-odds (...)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(CUES)))
        self.register_buffer("deviation", torch.ones(len(CUES)))
        self.layers = nn.Sequential(
            nn.Linear(len(CUES), 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, cues: Tensor) -> Tensor:
        said: Tensor = self.layers((cues - self.mean) / self.deviation)
        return said[..., 0]


class Recognizer(nn.Module):
    """Learned evidence (`identities.Evidence`), for objects of a model whose `Views` have `vectors` numbers."""

    following: Following = FOLLOWING

    def __init__(self, vectors: int) -> None:
        super().__init__()
        self.channels = LOOKS
        self.appearance = Appearance(vectors)
        self.pairs = PairNetwork()

    @torch.inference_mode()
    def looks(self, views: Views) -> Floats:
        """(n, LOOKS)."""
        if not len(views.crops):
            return np.zeros((0, self.channels))
        made = self.appearance(torch.from_numpy(views.vectors), torch.from_numpy(views.crops))
        return np.asarray(made.double().numpy())

    @torch.inference_mode()
    def log_odds(self, known: Identities, rows: Rows, seen: Sightings, now_s: float) -> Floats:
        """As `identities.Evidence` has it."""
        cues = torch.from_numpy(pair_cues(known, rows, seen, now_s))
        return np.asarray(self.pairs(cues).double().numpy())


def pair_cues(known: Identities, rows: Rows, seen: Sightings, now_s: float) -> NDArray[np.float32]:
    """What speaks for and against the identity in each of `rows` (k,) being each object seen: (k, n, len(CUES)).

    Lengths are in sizes of the larger of both (the root of its box), so that neither scale nor resolution counts;
    `_before`: from where it was seen last, not from where it should be by now; `_to_rival` and `_to_other`: less
    that of the best of the other identities for the object, of the other objects for the identity.
    """
    shape = (len(rows), len(seen.boxes))
    cues = _cues_of_places(known, rows, seen, now_s) | _cues_of_looks(known, rows, seen)
    away_s = (now_s - known.seen_s[rows])[:, None]
    same = known.ids[rows][:, None] == seen.held
    cues |= {
        "away": np.minimum(away_s, 8.0),
        "log_away": np.log(np.clip(away_s, 0.1, 8.0)),
        "age": np.log1p(known.seen_s[rows] - known.born_s[rows])[:, None],
        "score": seen.scores[None],
        "same_slot": same,
        "other_slot": (seen.held != UNUSED) & ~same,
    }
    for name in ("distance", "looks"):
        cues[f"{name}_to_rival"] = _less_the_best_other(cues[name], 0)
        cues[f"{name}_to_other"] = _less_the_best_other(cues[name], 1)
    made = np.empty((*shape, len(CUES)), dtype=np.float32)
    for i, name in enumerate(CUES):
        made[..., i] = cues[name]
    return made


def _cues_of_places(known: Identities, rows: Rows, seen: Sightings, now_s: float) -> dict[str, Any]:
    before, sizes, velocities = known.boxes[rows], known.sizes[rows], known.velocities[rows]
    boxes = known.moved(rows, now_s, PREDICT_S)
    there, moved = offsets(boxes, sizes, seen), offsets(before, sizes, seen)
    scale = np.sqrt(np.maximum(sizes[:, None], seen.sizes).prod(-1))
    speed = np.linalg.norm(velocities, axis=1)
    reach = 1.0 + (now_s - known.seen_s[rows])[:, None]
    along = (moved * velocities[:, None]).sum(-1) / np.maximum(speed, 1e-6)[:, None]
    return {
        "distance": np.minimum(np.linalg.norm(there, axis=-1) / reach, 5.0),
        "overlap": box_ious(boxes, seen.boxes),
        "overlap_before": box_ious(before, seen.boxes),
        "across": np.minimum(np.abs(there[..., 0]), 6.0),
        "down": np.minimum(np.abs(there[..., 1]), 6.0),
        "across_before": np.minimum(np.abs(moved[..., 0]), 6.0),
        "down_before": np.minimum(np.abs(moved[..., 1]), 6.0),
        "along": np.clip(along, -6.0, 6.0),
        "feet": np.minimum(np.abs(seen.boxes[:, 3] - before[:, None, 3]) / scale, 5.0),
        "speed": np.minimum(speed / sizes[:, 1], 4.0)[:, None],
        "width": np.log(seen.sizes[:, 0] / sizes[:, None, 0]).clip(-3, 3),
        "height": np.log(seen.sizes[:, 1] / sizes[:, None, 1]).clip(-3, 3),
    }


def _cues_of_looks(known: Identities, rows: Rows, seen: Sightings) -> dict[str, Any]:
    apart = known.colors[rows][:, None] - seen.colors
    return {
        "upper_color": np.minimum(np.linalg.norm(apart[..., :3], axis=-1) / 30, 5.0),
        "lower_color": np.minimum(np.linalg.norm(apart[..., 3:], axis=-1) / 30, 5.0),
        "label": other_classes(known, rows, seen),
        "looks": unlike(known.looks[rows], seen.looks),
        "newest_looks": unlike(known.newest_looks[rows], seen.looks),
    }


def _less_the_best_other(values: Floats, axis: int) -> Floats:
    """Of each value, less the smallest of the others along the axis; where there is none, as if that were 3."""
    if values.shape[axis] < 2:
        return values - 3.0
    two = np.partition(values, 1, axis=axis)
    best, second = np.take(two, [0], axis), np.take(two, [1], axis)
    place = np.expand_dims(values.argmin(axis), axis)
    is_best = np.indices(values.shape)[axis] == place
    return np.asarray(np.minimum(values - np.where(is_best, second, best), 3.0))
