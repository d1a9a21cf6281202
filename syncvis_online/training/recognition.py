"""Training a recognizer for a checkpoint, whose own weights stay as they are: minutes, once videos are recorded.

First `Appearance`, by contrast: of the objects of one video, two views of one are to be more alike than views of two
(supervised contrastive loss, Khosla et al., 2020). Then `PairNetwork`, by logistic regression on pairs of somebody who
is known and an object of a frame, as they come while identities are told: by the linear rules first, then by what was
learned from those (DAgger, Ross et al., 2011), so that it knows the mistakes that it will have to live with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from syncvis_online.checkpoint import load_model, resolve_model, save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.errors import DataError
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.evidence import RULES
from syncvis_online.folding import fold_batch_norms
from syncvis_online.identities import UNUSED, Evidence, Floats
from syncvis_online.recognition import CUES, FOLLOWING, Appearance, Recognizer, pair_cues
from syncvis_online.training.recorded import Ids, Recording, Shot
from syncvis_online.training.telling import by_evidence, steps, total

PAIRS_S = 4.0
"""Pairs that are learned from are of somebody who was seen within so long: later ones are few, and hardly anybody."""
LATELY = 9
"""Whose row it is, is what most of its last so many sightings were."""
NEAR = 1.5
"""Half of the pairs that are learned from are nearer than so much of their reach, or of one object."""
TEMPERATURE = 0.1
VIDEOS, OBJECTS, VIEWS = 4, 10, 4
"""In one step of contrast: videos, objects of each, views of each object."""
MORE_ODDS = (0.0, 0.25, 0.5, 0.75)
"""What is tried, to be added to the log-odds of every pair."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RecognitionTraining:
    """On what videos (specs of `open_videos`), how they are judged, and how long (steps of each network).

    keep_s: for so long an identity is waited for, in seconds: what the tracker's `reidentify_s` is to be.
    """

    data: tuple[str, ...]
    tuning: tuple[str, ...] = ()
    keep_s: float = 6.0
    appearance_steps: int = 2500
    pair_steps: int = 4000
    rounds: int = 2
    seed: int = 0


def train_recognizer(
    model: str, output: Path, training: RecognitionTraining, folder: Path, say: Say = print
) -> None:
    """Train one for the checkpoint `model`, by name or path; write it all to `output`, `reidentify_s` being `keep_s`.

    Recorded videos are kept in `folder`; what is there is not tracked again. `say` is told how it goes. Raises
    ConfigError for a spec, ModelError for the checkpoint, DataError when no object is found in the videos.
    """
    recorded = Recorded(resolve_model(model), folder, training.keep_s)
    data = [shot for spec in training.data for shot in recorded.shots(spec)]
    recognizer = learned(data, [recorded.shots(spec) for spec in training.tuning], training, say)
    checkpoint = load_model(model)
    values = {**checkpoint.tracker.to_mapping(), "reidentify_s": training.keep_s}
    tracker = TrackerConfig.from_mapping(values, "tracker")
    how = {"data": list(training.data), "seed": training.seed, "videos": len(data)}
    provenance = {**checkpoint.provenance, "recognition": how}
    save_model(output, checkpoint.model, tracker, provenance, recognizer=recognizer)


class Recorded:
    """Videos as a checkpoint's tracker sees them, kept in a folder."""

    def __init__(self, model: Path, folder: Path, keep_s: float) -> None:
        self._model, self._folder, self._keep_s = model, folder, keep_s
        checkpoint = load_model(str(model))
        weights = b"".join(x.numpy().tobytes() for x in checkpoint.model.state_dict().values())
        # What the slots show is theirs, for however long an identity is waited for.
        settings = {**checkpoint.tracker.to_mapping(), "reidentify_s": None}
        self._digest = hashlib.sha256(weights + json.dumps(settings).encode()).hexdigest()[:12]

    def shots(self, spec: str) -> list[Shot]:
        """Every video that a spec names. Raises ConfigError and DataError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        videos = open_videos(spec)
        paths = [self._folder / f"{self._digest}-{v.name}-{v.length}-{v.fps:g}.npz" for v in videos]
        shots = [Shot.load(path) for path in paths]
        missing = [i for i, shot in enumerate(shots) if shot is None]
        if missing:
            checkpoint = load_model(str(self._model))
            fold_batch_norms(checkpoint.model)
            recording = Recording(checkpoint, self._keep_s)
            with tqdm(
                total=sum(videos[i].length for i in missing), unit="frame", desc=spec, disable=None
            ) as bar:
                for i in missing:
                    shots[i] = made = recording.record(videos[i], bar.update)
                    made.save(paths[i])
        return [shot for shot in shots if shot is not None]


def learned(
    data: Sequence[Shot], tuning: Sequence[Sequence[Shot]], training: RecognitionTraining, say: Say
) -> Recognizer:
    """A recognizer of recorded videos, in eval mode. Raises DataError."""
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    objects = _Objects.of(data)
    recognizer = Recognizer(objects.vectors.shape[1])
    _train_appearance(recognizer.appearance, objects, training.appearance_steps, rng, say)
    looks = {id(shot): _looks(recognizer.eval(), shot) for shots in (data, *tuning) for shot in shots}
    say("linear rules: " + total(tuning, lambda shot: by_evidence(shot, RULES, training.keep_s))[1])
    evidence: Evidence = replace(RULES, following=FOLLOWING)
    cues: list[NDArray[np.float32]] = []
    same: list[NDArray[np.bool_]] = []
    for turn in range(training.rounds):
        for shot in tqdm(data, unit="video", desc=f"pairs, round {turn + 1}", disable=None):
            for some, are_same in _pairs(shot, evidence, PAIRS_S, looks[id(shot)]):
                cues.append(some)
                same.append(are_same)
        _train_pairs(recognizer, np.concatenate(cues), np.concatenate(same), training.pair_steps)
        evidence = recognizer.eval()
        said = _told(recognizer, tuning, training.keep_s, looks)[1]
        say(f"learned, round {turn + 1}, {sum(map(len, cues))} pairs: {said}")
    if tuning:
        balance(recognizer, tuning, training.keep_s, looks, say)
    return recognizer


def balance(
    recognizer: Recognizer,
    tuning: Sequence[Sequence[Shot]],
    keep_s: float,
    looks: Mapping[int, Sequence[Floats]],
    say: Say = print,
) -> None:
    """Add to the log-odds of every pair what is worth the most on the videos for tuning: pairs are learned one by one,
    and one to one among many they are told together. `looks` of every shot, by its `id`.
    """
    last = recognizer.pairs.layers[-1]
    assert isinstance(last, nn.Linear)
    learned_bias = last.bias.detach().clone()
    worths = {}
    for more in MORE_ODDS:
        last.bias.data = learned_bias + more
        worths[more], words = _told(recognizer, tuning, keep_s, looks)
        say(f"log-odds {more:+g}: {words}")
    last.bias.data = learned_bias + max(worths, key=worths.__getitem__)


def _told(
    recognizer: Recognizer,
    tuning: Sequence[Sequence[Shot]],
    keep_s: float,
    looks: Mapping[int, Sequence[Floats]],
) -> tuple[float, str]:
    return total(tuning, lambda shot: by_evidence(shot, recognizer, keep_s, looks[id(shot)]))


def _looks(recognizer: Recognizer, shot: Shot) -> list[Floats]:
    return [recognizer.looks(frame.views) for frame in shot.frames]


@dataclass(frozen=True, slots=True)
class _Objects:
    """All views of labelled objects: vectors (n, D) and crops (n, h, w, 4); and by video, of each object that was seen
    often enough, the places of its views.
    """

    vectors: Tensor
    crops: Tensor
    of_videos: list[list[NDArray[np.int64]]]

    @staticmethod
    def of(data: Sequence[Shot]) -> _Objects:
        vectors, crops, videos, count = [], [], [], 0
        for shot in data:
            truth = np.concatenate([frame.truth for frame in shot.frames])
            right = truth >= 0
            vectors.append(np.concatenate([frame.views.vectors for frame in shot.frames])[right])
            crops.append(np.concatenate([frame.views.crops for frame in shot.frames])[right])
            truth = truth[right]
            places = [count + np.flatnonzero(truth == i) for i in np.unique(truth)]
            places = [some for some in places if len(some) >= VIEWS]
            videos += [places] if len(places) > 1 else []
            count += len(truth)
        if not videos:
            raise DataError("no video in which two objects are found is left to learn recognition from")
        return _Objects(
            torch.from_numpy(np.concatenate(vectors)), torch.from_numpy(np.concatenate(crops)), videos
        )

    def drawn(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Views of some objects of some videos: their places, whose they are, and of which video, each (n,)."""
        places: list[NDArray[np.int64]] = []
        whose: list[NDArray[np.int64]] = []
        of_video: list[NDArray[np.int64]] = []
        for video in rng.choice(len(self.of_videos), min(VIDEOS, len(self.of_videos)), replace=False):
            objects = self.of_videos[video]
            for i in rng.permutation(len(objects))[:OBJECTS]:
                places.append(rng.choice(objects[i], VIEWS, replace=False))
                whose.append(np.full(VIEWS, len(whose)))
                of_video.append(np.full(VIEWS, video))
        return np.concatenate(places), np.concatenate(whose), np.concatenate(of_video)


def _train_appearance(
    network: Appearance, objects: _Objects, count: int, rng: np.random.Generator, say: Say
) -> None:
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    recent = math.nan
    for step in tqdm(range(count), unit="step", desc="appearance", disable=None):
        _set_rate(optimizer, 1e-3 * min(1.0, step / 100), step / count)
        places, whose, of_video = objects.drawn(rng)
        vectors = objects.vectors[places]
        vectors = vectors * (1 + 0.05 * torch.randn(vectors.shape))
        loss = _contrast(network(vectors, _changed(objects.crops[places], rng)), whose, of_video)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent = loss.item() if math.isnan(recent) else 0.99 * recent + 0.01 * loss.item()
    say(f"appearance: {sum(map(len, objects.of_videos))} objects, contrastive loss {recent:.3f}")


def _changed(crops: Tensor, rng: np.random.Generator) -> Tensor:
    """Under another light each, and all of them mirrored every other time."""
    light = torch.from_numpy(rng.normal(1, 0.06, (len(crops), 1, 1, 3)).astype(np.float32))
    changed = torch.cat([(crops[..., :3] * light).clamp(0, 255), crops[..., 3:].float()], dim=-1)
    return changed.flip(2) if rng.random() < 0.5 else changed


def _contrast(looks: Tensor, whose: NDArray[np.int64], of_video: NDArray[np.int64]) -> Tensor:
    """Supervised contrastive loss among the objects of each video: those of two were never side by side."""
    alike = looks @ looks.T / TEMPERATURE
    oneself = torch.eye(len(looks), dtype=torch.bool)
    together = torch.from_numpy(of_video[:, None] == of_video)
    alike = alike.masked_fill(oneself | ~together, -torch.inf)
    same = torch.from_numpy(whose[:, None] == whose) & ~oneself
    return -(alike - alike.logsumexp(1, keepdim=True))[same].mean()


def _pairs(
    shot: Shot, evidence: Evidence, keep_s: float, looks: Sequence[Floats]
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Of every frame, cues of those known and what is seen, (pairs, cues), and whether both are one object."""
    made = []
    lately: dict[int, list[int]] = {}
    for step, frame in zip(steps(shot, evidence, keep_s, looks), shot.frames, strict=True):
        rows = np.flatnonzero(step.known.ids != UNUSED)
        whose = np.array([_most(lately.get(int(i), [])) for i in step.known.ids[rows]], dtype=np.int64)
        of_somebody, right = whose >= 0, frame.truth >= 0
        if of_somebody.any() and right.any():
            cues = pair_cues(step.known, rows, step.seen, step.now_s)[of_somebody][:, right]
            same = whose[of_somebody][:, None] == frame.truth[right]
            made.append((cues.reshape(-1, len(CUES)), same.reshape(-1)))
        _note(lately, step.ids, frame.truth)
    return made


def _note(lately: dict[int, list[int]], ids: Ids, truth: Ids) -> None:
    for i, whose in zip(ids.tolist(), truth.tolist(), strict=True):
        if whose >= 0:
            lately[i] = [*lately.get(i, [])[1 - LATELY :], whose]


def _most(values: list[int]) -> int:
    return max(set(values), key=values.count) if values else -1


def _train_pairs(
    recognizer: Recognizer, cues: NDArray[np.float32], same: NDArray[np.bool_], count: int
) -> None:
    """Anew, from random weights."""
    network = recognizer.pairs
    given, wanted = torch.from_numpy(cues), torch.from_numpy(same).float()
    network.mean.copy_(given.mean(0))
    network.deviation.copy_(given.std(0) + 1e-3)
    for layer in network.layers:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    near = torch.nonzero((given[:, CUES.index("distance")] < NEAR) | (wanted > 0))[:, 0]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    for step in tqdm(range(count), unit="step", desc="pairs", disable=None):
        _set_rate(optimizer, 2e-3, step / count)
        any_of, near_of = torch.randint(len(given), (1024,)), near[torch.randint(len(near), (512,))]
        index = near_of if step % 2 else any_of
        loss = binary_cross_entropy_with_logits(network(given[index]), wanted[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """Half a cosine from `rate` to zero."""
    for group in optimizer.param_groups:
        group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * done))
