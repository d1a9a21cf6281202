"""What counts how much in telling who is who (`syncvis_online.identities.RULES`): a random search, on tuning videos.

`python -m benchmarks.identity_rules [--model NAME] [--data SPEC ...] [--minutes M] [--seed S] [--json FILE]`

The videos are tracked once, with identities that are slots; what the slots show on every frame is kept. Then rules are
drawn around the best so far, and identities are told by them. A set of rules is worth IDF1 + AssA (at IoU 0.5, classes
not told apart) less a price for each switch of identity, summed over the data. Prints what the slots themselves, the
rules that ship, and every better set are worth, and perfect identities, which are the most that rules can be.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from syncvis_online.checkpoint import load_model
from syncvis_online.config import TrackerConfig
from syncvis_online.evaluation.run import write_result
from syncvis_online.evaluation.videos import EvaluationVideo, open_videos
from syncvis_online.identities import RULES, UNUSED, Identities, Rules, Sightings, Weights
from syncvis_online.online import OnlineTracker
from syncvis_online.state import TrackerState
from syncvis_online.tracker import SlotTracker
from syncvis_online.types import Track

DATA = ("synthetic:long?seeds=8500-8503&frames=600", "synthetic:medium?seeds=8000-8019&frames=80")
KEEP_S = 2.0
SWITCH_PRICE = 0.6
"""Of one switch for each object; what IDF1 and AssA of 0 and 1 differ by is 2."""
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """One frame: what the slots show, `held` being the slots' own ids; and the object that each is, or -1."""

    sightings: Sightings
    truth: Ids


@dataclass(frozen=True)
class Shot:
    """One video: its frames, and on how many frames each object is."""

    fps: float
    frames: tuple[Shown, ...]
    lengths: Ids
    classes: int


class Recorder(SlotTracker):
    """A tracker whose identities are slots, that keeps what it would recognise them by."""

    newest: Sightings

    def _recognized(
        self, state: TrackerState, seen: Sequence[int], looks: Sightings, newest_s: float, now_s: float
    ) -> TrackerState:
        state = self._named(state, seen, now_s)
        self.newest = replace(looks, held=state.track_ids[list(seen)])
        return state


def record(tracker: OnlineTracker, video: EvaluationVideo, tick: Callable[[], object]) -> Shot:
    """Track a video with a tracker whose slots are a Recorder."""
    assert isinstance(tracker.slots, Recorder)
    said: list[tuple[Sightings, tuple[Track, ...]]] = []
    for answer in tracker.track_video(video.frames(), video.fps):
        said.append((tracker.slots.newest, answer.tracks))
        tick()
    tubes = video.ground_truth()
    frames = []
    for t, (looks, tracks) in enumerate(said):
        there = [(g, mask) for g, tube in enumerate(tubes) if (mask := tube.masks[t]) is not None]
        owner = _owners(tracks, there)
        frames.append(Shown(looks, np.array([owner.get(int(i), -1) for i in looks.held], dtype=np.int64)))
    lengths = np.array([sum(mask is not None for mask in tube.masks) for tube in tubes])
    return Shot(video.fps, tuple(frames), lengths, len(tracker.labels))


def _owners(tracks: Sequence[Track], there: Sequence[tuple[int, Any]]) -> dict[int, int]:
    """The object that each track is at IoU 0.5, one to one."""
    if not tracks or not there:
        return {}
    iou = np.asarray(coco_mask.iou([t.mask for t in tracks], [m for _, m in there], [0] * len(there)))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {tracks[i].track_id: there[j][0] for i, j in pairs if iou[i, j] >= 0.5}


def by_slots(shot: Shot) -> list[Ids]:
    """Identities as the slots have them."""
    return [frame.sightings.held for frame in shot.frames]


def by_truth(shot: Shot) -> list[Ids]:
    """Perfect identities; what is no object is somebody else each time."""
    told, other = [], len(shot.lengths)
    for frame in shot.frames:
        wrong = np.flatnonzero(frame.truth < 0)
        ids = frame.truth.copy()
        ids[wrong] = other + np.arange(len(wrong))
        other += len(wrong)
        told.append(ids)
    return told


def by_rules(shot: Shot, rules: Rules) -> list[Ids]:
    """Identities as the rules tell them."""
    channels = shot.frames[0].sightings.queries.shape[1]
    known = Identities.nobody(channels, shot.classes)
    of_slot: dict[int, int] = {}
    told, next_id = [], 1
    for t, frame in enumerate(shot.frames):
        now_s = t / shot.fps
        slots = frame.sightings.held.tolist()
        held = np.array([of_slot.get(slot, UNUSED) for slot in slots], dtype=np.int64)
        looks = replace(frame.sightings, held=held)
        known = known.remembered(now_s, KEEP_S, (t - 1) / shot.fps)
        known, rows = known.noted(known.match(looks, now_s, rules), looks, next_id, now_s, rules)
        next_id = max(next_id, int(known.ids.max(initial=0)) + 1)
        told.append(known.ids[rows])
        of_slot.update(zip(slots, told[-1].tolist(), strict=True))
    return told


def worth(shots: Sequence[Shot], tell: Callable[[Shot], list[Ids]]) -> dict[str, float]:
    """IDF1, AssA and switches of identities on some videos, and what they are worth together."""
    hit = found = objects = switches = 0
    associated = matched = 0.0
    for shot in shots:
        told = tell(shot)
        agree = np.zeros((len(shot.lengths), 1 + max((int(i.max(initial=0)) for i in told), default=0)))
        count, last = np.zeros(agree.shape[1]), np.full(len(shot.lengths), -1)
        for frame, ids in zip(shot.frames, told, strict=True):
            count[ids] += 1
            right = frame.truth >= 0
            truth, ids = frame.truth[right], ids[right]
            agree[truth, ids] += 1
            switches += int(((last[truth] >= 0) & (last[truth] != ids)).sum())
            last[truth] = ids
        rows, columns = linear_sum_assignment(agree, maximize=True)
        hit += int(agree[rows, columns].sum())
        found, objects = found + int(count.sum()), objects + int(shot.lengths.sum())
        union = np.maximum(1, shot.lengths[:, None] + count - agree)
        associated, matched = associated + float((agree**2 / union).sum()), matched + float(agree.sum())
    idf1, accuracy = 2 * hit / max(1, found + objects), associated / max(1.0, matched)
    price = SWITCH_PRICE * switches / max(1, sum(len(shot.lengths) for shot in shots)) / 10
    return {"IDF1": idf1, "AssA": accuracy, "switches": switches, "worth": idf1 + accuracy - price}


def total(data: Sequence[Sequence[Shot]], tell: Callable[[Shot], list[Ids]]) -> tuple[float, str]:
    """What identities are worth on all data, and in words on each."""
    each = [worth(shots, tell) for shots in data]
    words = "; ".join(f"IDF1 {w['IDF1']:.3f} AssA {w['AssA']:.3f} switches {w['switches']}" for w in each)
    return sum(w["worth"] for w in each), words


def drawn(rules: Rules, rng: np.random.Generator, spread: float) -> Rules:
    """Rules like these, one to four of their numbers changed."""
    names = [f.name for f in fields(Rules) if f.name not in ("same_slot_s", "votes_s")]
    for name in rng.choice(names, size=rng.integers(1, 5)).tolist():
        value = getattr(rules, name)
        if isinstance(value, Weights):
            key = str(rng.choice([f.name for f in fields(Weights)]))
            old = getattr(value, key)
            new = old + spread * rng.normal() * max(0.6, abs(old))
            # Each cue but the overlap tells against an identity, or nothing.
            new = new if key in ("bias", "overlap") else min(0.0, new)
            rules = replace(rules, **{name: replace(value, **{key: round(float(new), 3)})})
        elif name == "same_slot":
            rules = replace(rules, same_slot=round(float(value + 2 * spread * rng.normal()), 3))
        else:
            rules = replace(rules, **{name: round(float(value * np.exp(spread * rng.normal())), 3)})
    return rules


def recorded(model: str, specs: Sequence[str]) -> list[list[Shot]]:
    """Every video of the data, tracked."""
    checkpoint = load_model(model)
    values = {**checkpoint.tracker.to_mapping(), "reidentify_s": KEEP_S}
    tracker = OnlineTracker(checkpoint, TrackerConfig.from_mapping(values, "tracker"))
    tracker.slots = Recorder(tracker.model, tracker.config)
    opened = [open_videos(spec) for spec in specs]
    with tqdm(total=sum(v.length for videos in opened for v in videos), unit="frame", desc="record") as bar:
        return [[record(tracker, video, bar.update) for video in videos] for videos in opened]


def search(data: Sequence[Sequence[Shot]], minutes: float, seed: int) -> Rules:
    """The best rules found in so long."""
    rng, best = np.random.default_rng(seed), RULES
    most, words = total(data, lambda shot: by_rules(shot, RULES))
    print(f"as they ship: {most:.4f}: {words}")
    end, tries = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        tries += 1
        rules = drawn(best, rng, 0.8 if tries % 2 else 0.3)
        value, words = total(data, lambda shot, rules=rules: by_rules(shot, rules))  # type: ignore[misc]
        if value > most:
            most, best = value, rules
            print(f"try {tries}: {value:.4f}: {words}", flush=True)
    print(f"{tries} tries")
    return best


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", nargs="+", default=DATA, metavar="SPEC")
    parser.add_argument("--minutes", type=float, default=20.0, help="of searching (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = recorded(arguments.model, arguments.data)
    for name, tell in (("slots", by_slots), ("perfect", by_truth)):
        value, words = total(data, tell)
        print(f"{name}: {value:.4f}: {words}", flush=True)
    best = search(data, arguments.minutes, arguments.seed)
    print(best)
    if arguments.json is not None:
        write_result(arguments.json, asdict(best))


if __name__ == "__main__":
    main()
