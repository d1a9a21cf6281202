"""The state of one stream's tracker: a value that is passed in, returned, never written to; and its form as bytes.

Owns the format that is stored and sent. Knows the sizes of a model, not its layers, and no rule of a slot's life.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from syncvis_online.errors import DataError
from syncvis_online.identities import CAPACITY, Identities
from syncvis_online.memory import Memory

FORMAT = "syncvis-online-state/4"
FREE = 0
"""Track id of a slot that holds no identity."""
NEVER = -np.inf
"""The time of a memory entry that was not written yet."""


@dataclass(frozen=True, slots=True)
class SlotMemory:
    """The memory ring of every slot: `keys` and `values` (N, M, C); `written_s` (N, M) float64, NEVER where unused."""

    keys: Tensor
    values: Tensor
    written_s: NDArray[np.float64]

    @staticmethod
    def empty(slots: int, entries: int, like: Tensor) -> SlotMemory:
        """Nothing written yet; `like` (..., C) gives channels, dtype and device."""
        zeros = like.new_zeros(slots, entries, like.shape[-1])
        return SlotMemory(zeros, zeros, np.full((slots, entries), NEVER))

    def view(self) -> Memory:
        """As the model reads it."""
        used = torch.from_numpy(self.written_s > NEVER).to(self.keys.device)
        return Memory(self.keys, self.values, used)

    def write(self, slots: NDArray[np.int64], keys: Tensor, values: Tensor, now_s: float) -> SlotMemory:
        """With one more entry for each of `slots` in place of its oldest; keys and values (len(slots), C)."""
        if not len(slots):
            return self
        oldest = self.written_s[slots].argmin(1)
        written_s = self.written_s.copy()
        written_s[slots, oldest] = now_s
        rows, columns = (torch.from_numpy(x).to(self.keys.device) for x in (slots, oldest))
        new_keys, new_values = self.keys.clone(), self.values.clone()
        new_keys[rows, columns], new_values[rows, columns] = keys, values
        return SlotMemory(new_keys, new_values, written_s)

    def forget(self, slots: NDArray[np.bool_]) -> SlotMemory:
        """Without the entries of the slots that `slots` (N,) marks."""
        return replace(self, written_s=np.where(slots[:, None], NEVER, self.written_s))

    def no_later_than(self, now_s: float) -> SlotMemory:
        """For a clock that stepped back: nothing was written later than now."""
        return replace(self, written_s=np.minimum(self.written_s, now_s))


@dataclass(frozen=True, slots=True)
class TrackerState:
    """All that a camera's tracker remembers. Arrays are not written to once they are here.

    queries: p, the video queries after the window in which each slot was last seen, (N, C); the learned ones
    for free slots. embeds (N, Cm): the mask embeddings of that window. track_ids (N,) int64, FREE where free or
    tentative. born_s and last_seen_s (N,) float64: when its object was seen first and last, in the stream's time;
    born_s is NaN for free slots. labels (N,) int64, scores (N,) and boxes (N, 4) float64 (x0, y0, x1, y1 as shares of
    the picture): of when it was last seen. now_s: the time of the newest frame answered. next_id: the id that is given
    next. out_of_slots: frames after which no slot was free. memory: of models that have one. identities: who was
    seen not long ago, whether a slot holds it or not, of trackers that re-identify.
    """

    queries: Tensor
    embeds: Tensor
    track_ids: NDArray[np.int64]
    born_s: NDArray[np.float64]
    last_seen_s: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    now_s: float = NEVER
    next_id: int = 1
    out_of_slots: int = 0
    memory: SlotMemory | None = None
    identities: Identities | None = None

    @staticmethod
    def initial(
        learned: Tensor, mask_channels: int, memory_entries: int, labels: int | None = None, looks: int = 0
    ) -> TrackerState:
        """Every slot free; `learned` (N, C) are the model's own queries. `labels`: the number of classes, and `looks`
        that of the numbers of an object's looks, of a tracker that re-identifies.
        """
        N = len(learned)
        return TrackerState(
            queries=learned.clone(),
            embeds=learned.new_zeros(N, mask_channels),
            track_ids=np.full(N, FREE, dtype=np.int64),
            born_s=np.full(N, np.nan),
            last_seen_s=np.zeros(N),
            labels=np.zeros(N, dtype=np.int64),
            scores=np.zeros(N),
            boxes=np.zeros((N, 4)),
            memory=SlotMemory.empty(N, memory_entries, learned) if memory_entries else None,
            identities=None if labels is None else Identities.nobody(looks, labels, max(CAPACITY, 2 * N)),
        )

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which slots hold an object, tentative or confirmed, (N,)."""
        held: NDArray[np.bool_] = ~np.isnan(self.born_s)
        return held

    @property
    def tentative(self) -> NDArray[np.bool_]:
        """Which slots hold an object that has no identity yet, (N,)."""
        tentative: NDArray[np.bool_] = self.held & ~self.confirmed
        return tentative

    @property
    def confirmed(self) -> NDArray[np.bool_]:
        """Which slots hold an identity, (N,)."""
        confirmed: NDArray[np.bool_] = self.track_ids != FREE
        return confirmed

    def moved(self, place: NDArray[np.int64]) -> TrackerState:
        """With the content of slot j at `place[j]`, a permutation (N,)."""
        slot = np.argsort(place)
        if (slot == np.arange(len(slot))).all():
            return self
        index = torch.from_numpy(slot).to(self.queries.device)
        memory = self.memory and SlotMemory(
            self.memory.keys[index], self.memory.values[index], self.memory.written_s[slot]
        )
        arrays: dict[str, Any] = {name: getattr(self, name)[slot] for name in _ARRAYS}
        return replace(self, queries=self.queries[index], embeds=self.embeds[index], memory=memory, **arrays)

    def shifted(self, seconds: float) -> TrackerState:
        """All that happened, so much later: for a pause that is not to count."""
        memory = self.memory and replace(self.memory, written_s=self.memory.written_s + seconds)
        return replace(
            self,
            born_s=self.born_s + seconds,
            last_seen_s=self.last_seen_s + seconds,
            now_s=self.now_s + seconds,
            memory=memory,
            identities=self.identities and self.identities.later_than(seconds),
        )

    def _tensors(self) -> dict[str, Tensor]:
        """All arrays and tensors, by the names that they are stored under."""
        tensors = {"queries": self.queries, "embeds": self.embeds}
        tensors |= {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        if self.memory:
            tensors |= {
                "memory.keys": self.memory.keys,
                "memory.values": self.memory.values,
                "memory.written_s": torch.from_numpy(self.memory.written_s),
            }
        if self.identities:
            tensors |= {
                f"identities.{name}": torch.from_numpy(getattr(self.identities, name))
                for name in _OF_IDENTITIES
            }
        return tensors

    def to_bytes(self) -> bytes:
        """The whole state in safetensors' format: `from_bytes` gives it back, bit for bit."""
        tensors = {name: x.detach().cpu().clone().contiguous() for name, x in self._tensors().items()}
        numbers = {"now_s": self.now_s, "next_id": self.next_id, "out_of_slots": self.out_of_slots}
        return save(tensors, metadata={"format": FORMAT, "numbers": json.dumps(numbers)})

    @staticmethod
    def from_bytes(data: bytes, like: TrackerState) -> TrackerState:
        """What `to_bytes` wrote, for the tracker whose initial state is `like`, on its device.

        Raises DataError when the bytes are damaged, of another format, or of a model of other sizes.
        """
        tensors, header = _read(data)
        wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in like._tensors().items()}
        found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise DataError(f"tracker state: {name} is {_said(found, name)}, not {_said(wanted, name)}")
        finite = {"queries", "embeds", "last_seen_s", "scores", "boxes", "memory.keys", "memory.values"}
        finite |= {f"identities.{name}" for name in _OF_IDENTITIES}
        times = [tensors[name] for name in ("memory.written_s",) if name in tensors]
        if not all(tensors[name].isfinite().all() for name in finite & tensors.keys()) or not all(
            bool((time < torch.inf).all()) for time in times
        ):
            raise DataError("tracker state: it holds values that are not finite")
        numbers = _numbers(header)
        given = [tensors[name] for name in ("track_ids", "identities.ids") if name in tensors]
        if numbers["next_id"] <= int(torch.cat(given).max()):
            raise DataError(f"tracker state: next_id {numbers['next_id']} is not above every track id")
        device, memory = like.queries.device, None
        if like.memory:
            keys, values = tensors["memory.keys"].to(device), tensors["memory.values"].to(device)
            memory = SlotMemory(keys, values, tensors["memory.written_s"].numpy())
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in _ARRAYS}
        if like.identities:
            arrays["identities"] = Identities(
                **{name: tensors[f"identities.{name}"].numpy() for name in _OF_IDENTITIES}
            )
        queries, embeds = tensors["queries"].to(device), tensors["embeds"].to(device)
        return TrackerState(queries=queries, embeds=embeds, memory=memory, **arrays, **numbers)


_ARRAYS = ("track_ids", "born_s", "last_seen_s", "labels", "scores", "boxes")
_OF_IDENTITIES = tuple(each.name for each in fields(Identities))


def _numbers(header: dict[str, str]) -> dict[str, Any]:
    try:
        numbers = json.loads(header["numbers"])
        return {
            "now_s": float(numbers["now_s"]),
            "next_id": int(numbers["next_id"]),
            "out_of_slots": int(numbers["out_of_slots"]),
        }
    except (ValueError, KeyError, TypeError):
        raise DataError("tracker state: its numbers cannot be read") from None


def _read(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise DataError(f"tracker state: cannot be read ({error})") from None
    if header.get("format") != FORMAT:
        raise DataError(f"tracker state: not a {FORMAT} (it says {header.get('format')!r})")
    return tensors, header


def _said(kinds: dict[str, tuple[torch.Size, torch.dtype]], name: str) -> str:
    if name not in kinds:
        return "missing"
    shape, dtype = kinds[name]
    return f"{tuple(shape)} {str(dtype).removeprefix('torch.')}"
