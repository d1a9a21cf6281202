"""From windows of features to tracks: what is carried between windows, and the life of a slot.

A slot is a position among the video queries; while it is confirmed it holds one identity. Slot numbers never
leave this file. The state of a stream is a value: passed in, returned, never changed in place. Track ids only
grow. Knows nothing of cameras, pictures' sources or how features are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncvis_online.association import ASSOCIATIONS
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.features import FrameFeatures
from syncvis_online.memory import Memory
from syncvis_online.model import SyncVIS
from syncvis_online.state import FREE, SlotMemory, TrackerState


@dataclass(frozen=True, slots=True)
class Detection:
    """One identity seen on one frame. `logits` (h, w) are mask logits at the size of the mask features, float32."""

    track_id: int
    label: int
    score: float
    logits: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What the slots say of one frame: label, score and whether there is a mask, of every slot, (N,).

    Of the M slots whose class is likely enough to be answered at all, `row` (N,) names the place in `logits`
    and `inside` (M, h, w); the masks of the others are never made, and their score is 0.
    """

    label: NDArray[np.int64]
    score: NDArray[np.float32]
    visible: NDArray[np.bool_]
    row: NDArray[np.int64]
    logits: NDArray[np.float32]
    inside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _OfSlots:
    """What the video branch says of a window, by slot: class probability (N, K), mask embeddings, v after it."""

    probability: NDArray[np.float32]
    embeds: Tensor
    queries: Tensor


def _detections(found: _Candidates, state: TrackerState, seen: Sequence[int]) -> list[Detection]:
    return [
        Detection(
            int(state.track_ids[j]),
            int(found.label[j]),
            float(found.score[j]),
            found.logits[found.row[j]],
        )
        for j in seen
    ]


class SlotTracker:
    """Runs the decoder on windows and gives each slot its life. Holds the model and the config, no state."""

    def __init__(self, model: SyncVIS, config: TrackerConfig) -> None:
        self.model = model
        self.config = config
        self.association = ASSOCIATIONS[config.association]

    def initial_state(self) -> TrackerState:
        """The state of a stream of which nothing was seen: every slot free, its query the learned one."""
        learned = self.model.decoder.video_query.detach()
        N = learned.shape[0]
        zeros = np.zeros(N, dtype=np.int64)
        entries = self.model.config.memory_entries
        memory = SlotMemory.empty(N, entries, learned) if entries else None
        return TrackerState(learned.clone(), zeros, np.zeros(N), zeros, memory=memory)

    @torch.inference_mode()
    def decode(self, features: FrameFeatures, states: Sequence[TrackerState]) -> DecoderOutput:
        """Decode B windows (B, T, ...), each from its stream's state."""
        carried = torch.stack([s.queries for s in states])
        memories = [s.memory.view() for s in states if s.memory]
        memory = Memory.batch(memories) if memories else None
        return self.model.decode(features, self.association.start(self.model, carried, memory))

    @torch.inference_mode()
    def update(
        self,
        features: FrameFeatures,
        output: DecoderOutput,
        row: int,
        times_s: Sequence[float],
        answers: int,
        state: TrackerState,
    ) -> tuple[list[list[Detection]], TrackerState]:
        """Answer the newest `answers` frames of window `row`, and the state after it.

        `times_s`: the stream's time of each frame of the window, seconds, oldest first.
        """
        of_slots = self._of_slots(output, row, state)
        answered: list[list[Detection]] = []
        of_window: set[int] = set()
        for t in range(len(times_s) - answers, len(times_s)):
            candidates = self._candidates(of_slots, features.mask_features[row, t])
            state, seen = self._live(candidates, state, times_s[t], newest=t == len(times_s) - 1)
            answered.append(_detections(candidates, state, seen))
            state = self._carry(state, of_slots.queries, seen)
            of_window.update(seen)
        return answered, self._remember(state, of_slots.queries, sorted(of_window), times_s[-1])

    @torch.inference_mode()
    def revise(
        self,
        features: FrameFeatures,
        output: DecoderOutput,
        row: int,
        before: TrackerState,
        after: TrackerState,
    ) -> list[list[Detection]]:
        """What window `row` says of all of its frames, of the identities that are confirmed after it.

        `before` and `after`: the states that `update` took and gave. For answers that may come late: an online
        tracker never takes back what it has said.
        """
        of_slots = self._of_slots(output, row, before)
        revised = []
        for maps in features.mask_features[row]:
            found = self._candidates(of_slots, maps)
            keep = found.visible & (found.score >= self.config.keep_score) & after.confirmed
            seen = self._without_duplicates(found, np.flatnonzero(keep), ())
            in_sight = self._in_sight(found, seen)
            revised.append(_detections(found, after, [j for j in seen if j in in_sight]))
        return revised

    def _of_slots(self, output: DecoderOutput, row: int, state: TrackerState) -> _OfSlots:
        """The last layer's answer of window `row`, put in the order of the slots."""
        prediction = output.layers[-1].video
        order = self.association.assign(state.queries, output.video_queries[row])
        index = torch.from_numpy(order).to(state.queries.device)
        probability = prediction.logits[row][index].float().softmax(-1)[:, :-1].cpu().numpy()
        return _OfSlots(probability, prediction.embeds[row][index], output.video_queries[row][index])

    def _candidates(self, of_slots: _OfSlots, maps: Tensor) -> _Candidates:
        """Score = class probability x mean mask probability inside the mask (Mask2Former's instance score).

        `maps` (Cm, h, w): mask features of one frame.
        """
        probability, embeds = of_slots.probability, of_slots.embeds
        best = probability.max(1)
        # The mask's share of the score is at most 1, so these are all that a threshold can let through.
        likely = np.flatnonzero(best >= min(self.config.birth_score, self.config.keep_score))
        index = torch.from_numpy(likely).to(embeds.device)
        masks = torch.einsum("nc,chw->nhw", embeds[index], maps).float()
        inside = masks > 0
        area = inside.sum((1, 2))
        quality = (masks.sigmoid() * inside).sum((1, 2)) / area.clamp(min=1)
        score, visible = np.zeros_like(best), np.zeros(len(best), dtype=np.bool_)
        score[likely] = best[likely] * quality.cpu().numpy()
        visible[likely] = (area >= self.config.min_area).cpu().numpy()
        row = np.full(len(best), -1)
        row[likely] = np.arange(len(likely))
        return _Candidates(
            probability.argmax(1), score, visible, row, masks.cpu().numpy(), inside.cpu().numpy()
        )

    def _live(
        self, found: _Candidates, state: TrackerState, now_s: float, *, newest: bool
    ) -> tuple[TrackerState, list[int]]:
        """One frame of every slot's life: who is seen, who is born, who is retired. Returns the slots seen."""
        config = self.config
        keep = found.visible & (found.score >= config.keep_score) & state.confirmed
        seen = self._without_duplicates(found, np.flatnonzero(keep), ())
        candidates: list[int] = []
        if newest:  # a birth needs the newest frame, or an object that has just left would be born
            wants = found.visible & (found.score >= config.birth_score) & ~state.confirmed
            candidates = self._without_duplicates(found, np.flatnonzero(wants), seen)
        in_sight = self._in_sight(found, [*seen, *candidates])
        seen, candidates = [j for j in seen if j in in_sight], [j for j in candidates if j in in_sight]
        born: list[int] = []
        if newest:
            hits = np.zeros_like(state.hits)
            hits[candidates] = state.hits[candidates] + 1
            born = [j for j in candidates if hits[j] >= config.min_hits]
            hits[born] = 0
            state = replace(state, hits=hits)
        track_ids, last_seen_s = state.track_ids.copy(), state.last_seen_s.copy()
        for i, j in enumerate(born):
            track_ids[j] = state.next_id + i
        last_seen_s[[*seen, *born]] = now_s
        state = replace(
            state, track_ids=track_ids, last_seen_s=last_seen_s, next_id=state.next_id + len(born)
        )
        return state, [*seen, *born]

    def retire(self, state: TrackerState, now_s: float) -> TrackerState:
        """Free the slots not seen for `max_lost_s`: learned query, no id. Call it before a window is decoded, so
        that a slot that is free starts the window from the learned query. A clock that stepped back lengthens no
        slot's life: nothing was seen later than now.
        """
        state = replace(
            state,
            last_seen_s=np.minimum(state.last_seen_s, now_s),
            memory=state.memory and state.memory.no_later_than(now_s),
        )
        gone = state.confirmed & (now_s - state.last_seen_s > self.config.max_lost_s)
        if not gone.any():
            return state
        learned = self.model.decoder.video_query.detach()
        queries = torch.where(torch.from_numpy(gone)[:, None].to(learned.device), learned, state.queries)
        return replace(
            state,
            queries=queries,
            track_ids=np.where(gone, FREE, state.track_ids),
            memory=state.memory and state.memory.forget(gone),
        )

    def _without_duplicates(
        self, found: _Candidates, slots: NDArray[np.intp], taken: Sequence[int]
    ) -> list[int]:
        """Slots in order of score, without those whose mask overlaps a better one, or one of `taken`."""
        kept = list(taken)
        for j in slots[np.argsort(-found.score[slots], kind="stable")]:
            mask = found.inside[found.row[j]]
            if all(_iou(mask, found.inside[found.row[k]]) <= self.config.duplicate_iou for k in kept):
                kept.append(int(j))
        return kept[len(taken) :]

    def _in_sight(self, found: _Candidates, slots: list[int]) -> set[int]:
        """Those of `slots` of whose mask at least `min_area` cells are left where each cell goes to the largest
        logit: what is wholly behind others is not seen, and will not be answered.
        """
        if not slots:
            return set()
        rows = found.row[slots]
        owner = np.where(found.inside[rows].any(0), found.logits[rows].argmax(0), -1)
        return {j for i, j in enumerate(slots) if np.count_nonzero(owner == i) >= self.config.min_area}

    def _carry(self, state: TrackerState, after: Tensor, seen: Sequence[int]) -> TrackerState:
        """p of the slots that were seen is v after this window; a lost slot keeps its own, frozen."""
        taking = set(seen)
        if self.association.carries_free:
            taking.update(np.flatnonzero(~state.confirmed).tolist())
        if not taking:
            return state
        queries = state.queries.clone()
        index = torch.as_tensor(sorted(taking), device=after.device)
        queries[index] = after[index]
        return replace(state, queries=queries)

    def _remember(self, state: TrackerState, after: Tensor, seen: list[int], now_s: float) -> TrackerState:
        """Write v of the slots that the window has seen, and that have written nothing for an interval."""
        entries = self.model.remember(after)
        if state.memory is None or entries is None:
            return state
        slots = np.array(seen, dtype=np.int64)
        waited = now_s - state.memory.written_s[slots].max(1, initial=-np.inf)
        # Frames of 10 a second lie 0.1 s apart but for rounding.
        slots = slots[waited >= self.config.memory_interval_s - 1e-3]
        index = torch.from_numpy(slots).to(after.device)
        keys, values = (x[index] for x in entries)
        return replace(state, memory=state.memory.write(slots, keys, values, now_s))


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0
