"""What happens to a track: it is born, lost, found and gone, and what it does at zones and lines. Made of the frames,
told as JSON.

Owns what these words mean and the versioned form of an event. Does not know who listens. Bounded: it keeps the
tracks that are in sight or lost, and as many ids that are gone as `_REMEMBERED`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.errors import DataError
from stream.types import TrackedFrame
from stream.wire import Pixel
from stream.zones import Direction, Happening, HappeningKind, Sighting, Zones
from syncvis_online.types import Track

EVENTS_VERSION: Literal[1] = 1
LifeKind = Literal["born", "lost", "found", "gone"]
EventKind = Literal[LifeKind, HappeningKind]
EVENT_KINDS: tuple[EventKind, ...] = (*get_args(LifeKind), *get_args(HappeningKind))
_REMEMBERED = 1024


def _optional(description: str, **limits: Any) -> Any:
    """A key that is left out where it means nothing."""
    return Field(default=None, description=description, exclude_if=lambda value: value is None, **limits)


class TrackEvent(BaseModel):
    """One thing that happened to one track. Version 1 grows only by new optional keys."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = Field(default=EVENTS_VERSION, description="of this form")
    number: int = Field(
        default=0, ge=0, description="counts the server's events from 1; a number that is missing was missed"
    )
    camera: str
    event: EventKind = Field(
        description='"born": seen for the first time; "lost": in sight no more; "found": in sight again; '
        '"gone": it will not come back; "enter", "leave": it came into a zone or out of it; "dwell": it has been in '
        'a zone for as long as its config says; "cross": it went across a line'
    )
    id: int = Field(description="lasting identity of the track; never given twice on a camera")
    label: str = Field(description="class name when it was seen last")
    score: float = Field(ge=0.0, le=1.0, description="confidence when it was seen last, 0 to 1")
    box: tuple[Pixel, Pixel, Pixel, Pixel] = Field(
        description="x0, y0, x1, y1 in pixels when it was seen last; right and bottom edges exclusive"
    )
    seq: int = Field(ge=0, description="the frame on which it happened")
    captured_at_s: float = Field(description="Unix time in seconds at which that frame was taken")
    seen_at_s: float = Field(description="Unix time in seconds of the frame on which it was seen last")
    born_at_s: float = Field(description="Unix time in seconds of the frame on which it was told first")
    width: int = Field(ge=0, description="of the camera's picture, pixels")
    height: int = Field(ge=0, description="of the camera's picture, pixels")
    zone: str | None = _optional("of enter, leave and dwell: the zone's name")
    line: str | None = _optional("of cross: the line's name")
    direction: Direction | None = _optional(
        'of cross: "forward", from the left to the right of the line as seen from its first point to its second'
    )
    dwell_s: float | None = _optional("of leave and dwell: seconds that it was in the zone", ge=0.0)
    epoch: int | None = _optional(
        "of the camera's place in a cluster, where it has one: `number` and `seq` begin anew with each", ge=1
    )


def decode_event(text: str | bytes) -> TrackEvent:
    """Read an event's JSON text. Raises DataError, in one line, for anything else."""
    try:
        return TrackEvent.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "text"
        raise DataError(f"not an event of version {EVENTS_VERSION}: {where}: {first['msg']}") from error


@dataclass(slots=True)
class _Known:
    """A track as it was seen last."""

    track: Track
    born_at_s: float
    seen_at_s: float
    lost: bool = False


class TrackEvents:
    """The events of one camera: give it every frame, in order.

    For each id they are `born (lost found)* lost gone`: `gone` comes on the first frame that is more than
    `gone_after_s` after the one on which it was seen last, or at once with a break that makes all identities new
    (`resets`: the flags of such frames). Where breaks keep identities, a track may be found after it was gone.
    What it does at `zones` is told after it is born or found, and before it is gone.
    """

    def __init__(self, gone_after_s: float, resets: Iterable[str] = (), zones: Zones | None = None) -> None:
        self._zones = zones or Zones()
        self._gone_after_s = gone_after_s
        self._resets = frozenset(resets)
        self._known: dict[int, _Known] = {}
        self._gone: OrderedDict[int, float] = OrderedDict()
        self._newest: TrackedFrame | None = None
        self._frozen = False

    def of(self, frame: TrackedFrame) -> list[TrackEvent]:
        """What happened on this frame, in order: ends by a break, what is in sight, what is not any more."""
        events = self._reset(frame)
        self._newest = frame
        seen = {track.track_id: track for track in frame.tracks if track.seen}
        events += [event for track in seen.values() for event in self._see(track, frame)]
        for track_id in [track_id for track_id in self._known if track_id not in seen]:
            events += self._miss(track_id, frame)
        return events

    def end(self) -> list[TrackEvent]:
        """The camera is no more: so is all that was on it, as of its newest frame."""
        frame = self._newest
        if frame is None:
            return []
        return [event for track_id in list(self._known) for event in self._end(track_id, frame)]

    def _reset(self, frame: TrackedFrame) -> list[TrackEvent]:
        """All are gone when the frame comes after a break that makes identities new."""
        frozen, self._frozen = self._frozen, "stale" in frame.flags
        breaks = {flag for flag in frame.flags if flag != "stale"}
        if frozen and not self._frozen:
            breaks.add("stale")
        if not breaks & self._resets:
            return []
        return [event for track_id in list(self._known) for event in self._end(track_id, frame)]

    def _see(self, track: Track, frame: TrackedFrame) -> list[TrackEvent]:
        now = frame.captured_at_s
        known = self._known.get(track.track_id)
        events = []
        if known is None:
            born_at_s = self._gone.pop(track.track_id, None)
            self._known[track.track_id] = known = _Known(track, now if born_at_s is None else born_at_s, now)
            events.append(_event("born" if born_at_s is None else "found", known, frame))
        elif known.lost:
            events.append(_event("found", replace(known, track=track, seen_at_s=now), frame))
        known.track, known.seen_at_s, known.lost = track, now, False
        height, width = frame.image.shape[:2]
        happened = self._zones.see(Sighting(track, (width, height), now))
        return events + [_told(happening, known, frame) for happening in happened]

    def _miss(self, track_id: int, frame: TrackedFrame) -> list[TrackEvent]:
        known = self._known[track_id]
        if frame.captured_at_s - known.seen_at_s > self._gone_after_s:
            return self._end(track_id, frame)
        return self._lose(known, frame)

    def _lose(self, known: _Known, frame: TrackedFrame) -> list[TrackEvent]:
        if known.lost:
            return []
        known.lost = True
        return [_event("lost", known, frame)]

    def _end(self, track_id: int, frame: TrackedFrame) -> list[TrackEvent]:
        known = self._known.pop(track_id)
        self._gone[track_id] = known.born_at_s
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        left = [_told(happening, known, frame) for happening in self._zones.end(track_id)]
        return [*self._lose(known, frame), *left, _event("gone", known, frame)]


def _told(happening: Happening, known: _Known, frame: TrackedFrame) -> TrackEvent:
    keys = asdict(happening)
    return _event(keys.pop("kind"), known, frame, **keys)


def _event(kind: EventKind, known: _Known, frame: TrackedFrame, **keys: Any) -> TrackEvent:
    track = known.track
    height, width = frame.image.shape[:2]
    return TrackEvent(
        camera=frame.camera,
        event=kind,
        id=track.track_id,
        label=track.label,
        score=track.score,
        box=track.box_xyxy,
        seq=frame.seq,
        captured_at_s=frame.captured_at_s,
        seen_at_s=known.seen_at_s,
        born_at_s=known.born_at_s,
        width=width,
        height=height,
        **keys,
    )
