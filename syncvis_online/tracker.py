"""From windows of features to tracks: what is carried between windows, and the life of a slot.

A slot is a position among the video queries. Its life: free, tentative (seen, not yet answered), confirmed (it holds
one identity), lost (not seen now), and free again when it is retired. Slot numbers never
leave this file. The state of a stream is a value: passed in, returned, never changed in place. Track ids only
grow. Knows nothing of cameras, pictures' sources or how features are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncvis_online.association import ASSOCIATIONS, NONE, Side
from syncvis_online.candidates import Candidates, CutOut
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.evidence import RULES
from syncvis_online.features import FrameFeatures
from syncvis_online.identities import Evidence, Sightings, mask_colors
from syncvis_online.memory import Memory
from syncvis_online.model import SyncVIS
from syncvis_online.recognition import CROP, Recognizer, Views, crop
from syncvis_online.runtime import Runtime, TorchRuntime
from syncvis_online.state import FREE, TrackerState


@dataclass(frozen=True, slots=True)
class Detection:
    """One identity on one frame, `age_s` seconds after it was first seen.

    `logits` (h, w): mask logits at the size of the mask features, float32; None of a lost one, which has a `box`
    instead: (x0, y0, x1, y1) of when it was last seen, as shares of the picture.
    """

    track_id: int
    label: int
    score: float
    logits: NDArray[np.float32] | None
    age_s: float = 0.0
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class OfSlots:
    """What the video branch says of a window, by slot: class probability (N, K), mask embeddings, v after it."""

    probability: NDArray[np.float32]
    embeds: Tensor
    queries: Tensor


class SlotTracker:
    """Runs the decoder on windows and gives each slot its life. Holds the model and the config, no state."""

    def __init__(
        self,
        model: SyncVIS,
        config: TrackerConfig,
        runtime: Runtime | None = None,
        recognizer: Recognizer | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self._recognizer = recognizer
        self._evidence: Evidence = recognizer or RULES
        self._runtime = runtime or TorchRuntime(model)
        self.association = ASSOCIATIONS[config.association]

    def initial_state(self) -> TrackerState:
        """The state of a stream of which nothing was seen: every slot free, its query the learned one."""
        learned = self.model.decoder.video_query.detach()
        config = self.model.config
        labels = len(config.labels) if self.config.reidentify_s else None
        looks = self._recognizer.channels if self._recognizer else config.channels
        return TrackerState.initial(learned, config.mask_channels, config.memory_entries, labels, looks)

    @torch.inference_mode()
    def decode(self, features: FrameFeatures, states: Sequence[TrackerState]) -> DecoderOutput:
        """Decode B windows (B, T, ...), each from its stream's state."""
        carried = torch.stack([s.queries for s in states])
        memories = [s.memory.view() for s in states if s.memory]
        memory = Memory.batch(memories) if memories else None
        return self._runtime.decode(features, self.association.start(self.model, carried, memory))

    @torch.inference_mode()
    def update(
        self,
        frames: Sequence[FrameFeatures],
        output: DecoderOutput,
        row: int,
        times_s: Sequence[float],
        answers: int,
        state: TrackerState,
    ) -> tuple[list[list[Detection]], TrackerState]:
        """Answer the newest `answers` frames of window `row` of `output`, and the state after it.

        `frames`: of that window, each (1, ...), oldest first; `times_s`: the stream's time of each, seconds.
        """
        of_slots, state = self._of_slots(frames, output, row, len(times_s) - answers, state)
        answered: list[list[Detection]] = []
        of_window: set[int] = set()
        for t in range(len(times_s) - answers, len(times_s)):
            candidates = self._candidates(of_slots, frames[t])
            state, seen, born = self._live(candidates, state, times_s[t], newest=t == len(times_s) - 1)
            newest_s, seen = state.now_s, [*seen, *born]
            state = self._noted(candidates, state, seen, born, times_s[t])
            if state.identities is None:
                state = self._named(state, seen, times_s[t])
            else:
                looks = self._looks(candidates, of_slots, frames[t], seen, state)
                state = self._recognized(state, seen, looks, newest_s, times_s[t])
            answered.append(
                self._answer(candidates, state, seen, times_s[t]) + self._coasting(state, times_s[t])
            )
            state = self._carry(state, of_slots, seen)
            of_window.update(seen)
        return answered, self._remember(state, of_slots.queries, sorted(of_window), times_s[-1])

    @torch.inference_mode()
    def revise(
        self,
        frames: Sequence[FrameFeatures],
        output: DecoderOutput,
        row: int,
        times_s: Sequence[float],
        answers: int,
        before: TrackerState,
        after: TrackerState,
    ) -> list[list[Detection]]:
        """What window `row` says of all of its frames, of the identities that are confirmed after it.

        `frames`, `times_s` and `answers` as of `update`; `before` and `after`: the states that it took and gave. For
        answers that may come late: an online tracker never takes back what it has said.
        """
        of_slots, _ = self._of_slots(frames, output, row, len(times_s) - answers, before)
        revised = []
        for frame, now_s in zip(frames, times_s, strict=True):
            found = self._candidates(of_slots, frame)
            keep = found.visible & (found.score >= self.config.keep_score) & after.confirmed
            seen = found.without_duplicates(np.flatnonzero(keep), (), self.config.duplicate_iou)
            in_sight = found.in_sight(seen, self.config.min_area)
            revised.append(self._answer(found, after, [j for j in seen if j in in_sight], now_s))
        return revised

    @staticmethod
    def _answer(found: Candidates, state: TrackerState, seen: Sequence[int], now_s: float) -> list[Detection]:
        """What is said of the slots seen on a frame: of those that hold an identity."""
        return [
            Detection(
                int(state.track_ids[j]),
                int(found.label[j]),
                float(found.score[j]),
                found.mask_logits(j),
                max(0.0, now_s - float(state.born_s[j])),
            )
            for j in seen
            if state.confirmed[j]
        ]

    def _coasting(self, state: TrackerState, now_s: float) -> list[Detection]:
        """What is said of identities that are lost, but not for longer than `coast_s`."""
        waiting = now_s - state.last_seen_s
        coasts = state.confirmed & (waiting > 0) & (waiting <= self.config.coast_s)
        return [
            Detection(
                int(state.track_ids[j]),
                int(state.labels[j]),
                float(state.scores[j]),
                None,
                max(0.0, now_s - float(state.born_s[j])),
                tuple(state.boxes[j].tolist()),
            )
            for j in np.flatnonzero(coasts)
        ]

    def _of_slots(
        self,
        frames: Sequence[FrameFeatures],
        output: DecoderOutput,
        row: int,
        shared: int,
        state: TrackerState,
    ) -> tuple[OfSlots, TrackerState]:
        """The last layer's answer of window `row`, whose first `shared` frames the window before held too; and the
        state with every slot's content moved to the place of the query that answers for it: a query belongs to its
        place, for each has a position encoding of its own. Where none answers, nothing is likely.
        """
        prediction = output.layers[-1].video
        probability = prediction.logits[row].float().softmax(-1)[:, :-1].cpu().numpy()
        found = Side(output.video_queries[row], prediction.embeds[row])
        place = self.association.assign(
            Side(state.queries, state.embeds),
            found,
            state.held,
            probability.max(1),
            frames[max(0, shared - 1)].mask_features[0],
        )
        unanswered = np.flatnonzero(place == NONE)
        if unanswered.size:
            left = np.setdiff1d(np.arange(len(place)), place)
            place[unanswered] = left
            probability[left] = 0.0
        return OfSlots(probability, found.embeds, found.queries), state.moved(place)

    def _candidates(self, of_slots: OfSlots, frame: FrameFeatures) -> Candidates:
        """Of one frame (1, ...)."""
        least, maps = min(self.config.birth_score, self.config.keep_score), frame.mask_features[0]
        return Candidates.of(of_slots.probability, of_slots.embeds, maps, least, self.config.min_area)

    def _live(
        self, found: Candidates, state: TrackerState, now_s: float, *, newest: bool
    ) -> tuple[TrackerState, list[int], list[int]]:
        """One frame of every slot's life: the slots that are seen, and those in which something new is."""
        config = self.config
        confirmed = found.visible & (found.score >= config.keep_score) & state.confirmed
        seen = found.without_duplicates(np.flatnonzero(confirmed), (), config.duplicate_iou)
        tentative = found.visible & (found.score >= config.birth_score) & state.tentative
        seen += found.without_duplicates(np.flatnonzero(tentative), seen, config.duplicate_iou)
        born: list[int] = []
        if newest:  # a birth needs the newest frame, or an object that has just left would be born
            wants = found.visible & (found.score >= config.birth_score) & ~state.held
            born = found.without_duplicates(np.flatnonzero(wants), seen, config.duplicate_iou)
        in_sight = found.in_sight([*seen, *born], config.min_area)
        seen, born = [j for j in seen if j in in_sight], [j for j in born if j in in_sight]
        missed = state.tentative
        missed[seen] = False
        state = self._freed(state, missed)  # nothing was there
        return state, seen, born

    def _noted(
        self, found: Candidates, state: TrackerState, seen: list[int], born: list[int], now_s: float
    ) -> TrackerState:
        """The state after `seen` and `born` were seen on a frame."""
        index = [*seen, *born]
        born_s, last_seen_s = state.born_s.copy(), state.last_seen_s.copy()
        labels, scores, boxes = state.labels.copy(), state.scores.copy(), state.boxes.copy()
        born_s[born], last_seen_s[index] = now_s, now_s
        labels[index], scores[index] = found.label[index], found.score[index]
        boxes[index] = found.boxes(index)
        return replace(
            state,
            born_s=born_s,
            last_seen_s=last_seen_s,
            labels=labels,
            scores=scores,
            boxes=boxes,
            now_s=now_s,
            out_of_slots=state.out_of_slots + int(not np.isnan(born_s).any()),
        )

    def _due(self, state: TrackerState, now_s: float) -> NDArray[np.bool_]:
        """The slots that have an id, or are to have one by now where they are seen, (N,)."""
        # Frames of 10 a second lie 0.1 s apart but for rounding.
        return np.asarray(state.confirmed | (now_s - state.born_s >= self.config.tentative_s - 1e-3))

    def _named(self, state: TrackerState, seen: Sequence[int], now_s: float) -> TrackerState:
        """Identities are slots: those seen that have waited long enough get an id, once."""
        due = self._due(state, now_s) & ~state.confirmed
        new = [j for j in seen if due[j]]
        track_ids = state.track_ids.copy()
        track_ids[new] = np.arange(state.next_id, state.next_id + len(new))
        return replace(state, track_ids=track_ids, next_id=state.next_id + len(new))

    def _recognized(
        self, state: TrackerState, seen: Sequence[int], looks: Sightings, newest_s: float, now_s: float
    ) -> TrackerState:
        """Identities are recognised: what is seen gets the id of whom it is, whatever slot held it before. `newest_s`:
        the time of the frame before.
        """
        assert state.identities is not None
        known = state.identities.remembered(now_s, self.config.reidentify_s, newest_s)
        slots = np.array(seen, dtype=np.int64)
        ready = self._due(state, now_s)[slots]
        slots, looks = slots[ready], looks.of(np.flatnonzero(ready))
        rows = known.match(looks, now_s, self._evidence)
        after, rows = known.noted(rows, looks, state.next_id, now_s, self._evidence.following)
        track_ids, born_s = state.track_ids.copy(), state.born_s.copy()
        track_ids[slots], born_s[slots] = after.ids[rows], after.born_s[rows]
        elsewhere = np.isin(track_ids, after.ids[rows])
        elsewhere[slots] = False  # lost slots whose identity was found in another one, or forgotten for it
        elsewhere |= (track_ids != FREE) & ~np.isin(track_ids, after.ids)
        next_id = max(state.next_id, int(after.ids.max(initial=0)) + 1)
        state = replace(state, track_ids=track_ids, born_s=born_s, next_id=next_id, identities=after)
        return self._freed(state, elsewhere)

    def _looks(
        self,
        found: Candidates,
        of_slots: OfSlots,
        frame: FrameFeatures,
        seen: Sequence[int],
        state: TrackerState,
    ) -> Sightings:
        """What the objects in the slots `seen` look like on a frame (1, ...)."""
        height, width = frame.mask_features.shape[-2:]
        cut_outs = self._cut_outs(found, frame, seen)
        if self._recognizer is None:
            looks = of_slots.queries[list(seen)].double().cpu().numpy()
        else:
            looks = self._recognizer.looks(self._views(found, of_slots, frame, seen, cut_outs))
        return Sightings(
            boxes=state.boxes[seen] * np.array([width / height, 1.0, width / height, 1.0]),
            colors=mask_colors(cut_outs),
            looks=looks,
            labels=state.labels[seen],
            scores=state.scores[seen],
            held=state.track_ids[seen],
        )

    @staticmethod
    def _cut_outs(found: Candidates, frame: FrameFeatures, seen: Sequence[int]) -> list[CutOut]:
        """`Candidates.cut_out` of the slots `seen`, of the picture's mean colour in each cell of the mask features."""
        if frame.picture is None:
            raise ValueError("a tracker that re-identifies needs features with the picture")
        picture = frame.picture[0].permute(1, 2, 0).cpu().numpy().astype(np.float32)
        height, width = frame.mask_features.shape[-2:]
        cells = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        return [found.cut_out(j, cells) for j in seen]

    @staticmethod
    def _views(
        found: Candidates,
        of_slots: OfSlots,
        frame: FrameFeatures,
        seen: Sequence[int],
        cut_outs: Sequence[CutOut],
    ) -> Views:
        """What a recognizer sees of the objects in the slots `seen` on a frame (1, ...)."""
        index, cells = list(seen), frame.mask_features[0].flatten(1)
        inside = torch.from_numpy(found.inside[found.row[index]]).to(cells.device, torch.float32)
        area = inside.sum((1, 2)).clamp(min=1)
        pooled = inside.flatten(1) @ cells.float().T / area[:, None]
        vectors = [of_slots.queries[index].float(), of_slots.embeds[index].float(), pooled]
        crops = [crop(*one) for one in cut_outs]
        return Views(
            torch.cat(vectors, dim=1).cpu().numpy(), np.array(crops, dtype=np.uint8).reshape(-1, *CROP, 4)
        )

    def retire(self, state: TrackerState, now_s: float, *, broken: bool = False) -> TrackerState:
        """Free the slots not seen for `max_lost_s`, and when few are free, those lost for the longest.

        What was seen on the newest frame is not lost, however long ago that was: a slow camera's next frame comes when
        it comes. Unless the stream was `broken` in between: then what was there may have gone meanwhile.

        Call it before a window is decoded, so that a slot that is free starts the window from the learned query. A
        clock that stepped back lengthens no slot's life: everything was seen before now.
        """
        before = float(np.nextafter(now_s, -np.inf)) if now_s < state.now_s else now_s
        state = replace(
            state,
            born_s=np.minimum(state.born_s, now_s),
            last_seen_s=np.minimum(state.last_seen_s, before),
            now_s=min(state.now_s, now_s),
            memory=state.memory and state.memory.no_later_than(now_s),
            identities=state.identities and state.identities.no_later_than(before),
        )
        missed = broken | (state.last_seen_s < state.now_s)
        gone = state.held & missed & (now_s - state.last_seen_s > self.config.max_lost_s)
        short = self.config.spare_slots - int(np.count_nonzero(~state.held | gone))
        lost = np.flatnonzero(state.held & ~gone & (state.last_seen_s < state.now_s))
        gone[lost[np.argsort(state.last_seen_s[lost], kind="stable")[: max(0, short)]]] = True
        if broken and state.identities:
            known = state.identities.remembered(now_s, self.config.reidentify_s, np.inf)
            state = replace(state, identities=known)
        return self._freed(state, gone)

    def _freed(self, state: TrackerState, gone: NDArray[np.bool_]) -> TrackerState:
        """With the slots of `gone` (N,) free: learned query, empty memory, no id."""
        if not gone.any():
            return state
        learned = self.model.decoder.video_query.detach()
        queries = torch.where(torch.from_numpy(gone)[:, None].to(learned.device), learned, state.queries)
        return replace(
            state,
            queries=queries,
            track_ids=np.where(gone, FREE, state.track_ids),
            born_s=np.where(gone, np.nan, state.born_s),
            memory=state.memory and state.memory.forget(gone),
        )

    @staticmethod
    def _carry(state: TrackerState, after: OfSlots, seen: Sequence[int]) -> TrackerState:
        """p of the slots that were seen is v after this window; a lost slot keeps its own, frozen."""
        if not seen:
            return state
        queries, embeds = state.queries.clone(), state.embeds.clone()
        index = torch.as_tensor(sorted(seen), device=queries.device)
        queries[index], embeds[index] = after.queries[index], after.embeds[index]
        return replace(state, queries=queries, embeds=embeds)

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
