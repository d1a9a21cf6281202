"""Who is who in recorded videos, told by slots, by evidence or by the truth; and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from syncvis_online.identities import UNUSED, Evidence, Floats, Identities, Sightings
from syncvis_online.training.recorded import Ids, Shot

SWITCH_PRICE = 0.6
"""Of one switch for each object; what IDF1 and AssA of 0 and 1 differ by is 2."""
Tell = Callable[[Shot], list[Ids]]


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


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of a video that is told by evidence: who was known before it, `rows` of them that are in use; what is
    seen on it, `held` being the ids that were told; the rows that its objects were given, and their ids after it.
    """

    known: Identities
    seen: Sightings
    now_s: float
    places: Ids
    ids: Ids


def steps(
    shot: Shot, evidence: Evidence, keep_s: float, looks: Sequence[Floats] | None = None
) -> Iterator[Step]:
    """Tell a video, frame by frame. `looks` (n, E) of every frame, where they are not the slots' queries."""
    looks = looks or [frame.sightings.looks for frame in shot.frames]
    known = Identities.nobody(looks[0].shape[1], shot.classes)
    of_slot: dict[int, int] = {}
    next_id = 1
    for t, frame in enumerate(shot.frames):
        now_s, slots = t / shot.fps, frame.sightings.held.tolist()
        held = np.array([of_slot.get(slot, UNUSED) for slot in slots], dtype=np.int64)
        seen = replace(frame.sightings, held=held, looks=looks[t])
        known = known.remembered(now_s, keep_s, (t - 1) / shot.fps)
        rows = known.match(seen, now_s, evidence)
        after, places = known.noted(rows, seen, next_id, now_s, evidence.following)
        next_id = max(next_id, int(after.ids.max(initial=0)) + 1)
        ids = after.ids[places]
        yield Step(known, seen, now_s, places, ids)
        of_slot.update(zip(slots, ids.tolist(), strict=True))
        known = after


def by_evidence(
    shot: Shot, evidence: Evidence, keep_s: float, looks: Sequence[Floats] | None = None
) -> list[Ids]:
    """Identities as evidence tells them."""
    return [step.ids for step in steps(shot, evidence, keep_s, looks)]


def worth(shots: Sequence[Shot], told: Sequence[list[Ids]]) -> dict[str, float]:
    """IDF1, AssA and switches of identities on some videos (at IoU 0.5, classes not told apart), and their worth: IDF1
    + AssA less a price for each switch.
    """
    hit = found = objects = switches = 0
    associated = matched = 0.0
    for shot, ids_of in zip(shots, told, strict=True):
        agree = np.zeros((len(shot.lengths), 1 + max((int(i.max(initial=0)) for i in ids_of), default=0)))
        count, last = np.zeros(agree.shape[1]), np.full(len(shot.lengths), -1)
        for frame, ids in zip(shot.frames, ids_of, strict=True):
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


def total(data: Sequence[Sequence[Shot]], tell: Tell) -> tuple[float, str]:
    """What identities are worth on all data, and in words on each."""
    each = [worth(shots, [tell(shot) for shot in shots]) for shots in data]
    words = "; ".join(f"IDF1 {w['IDF1']:.3f} AssA {w['AssA']:.3f} switches {w['switches']}" for w in each)
    return sum(w["worth"] for w in each), words
