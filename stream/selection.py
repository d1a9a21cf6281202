"""Which tracks a subscriber wants: of which cameras, of which classes, how sure.

Owns the names of the query and what they mean; knows neither sockets nor JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query

from stream.events import EventKind, TrackEvent
from stream.types import TrackedFrame

Cameras = Annotated[list[str], Query(description="only of this camera; may be there several times")]
Labels = Annotated[list[str], Query(description="only this class; may be there several times")]
Kinds = Annotated[list[EventKind], Query(description="only events of this kind; may be there several times")]
MinScore = Annotated[float, Query(ge=0.0, le=1.0, description="only what is at least so confident, 0 to 1")]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted; an empty set wants all. Frames are sent whatever is left on them: silence would not tell a camera
    that is down from an empty scene.
    """

    cameras: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    min_score: float = 0.0
    kinds: frozenset[EventKind] = frozenset()
    """Of events."""

    @property
    def all_tracks(self) -> bool:
        """Whether it leaves out no track of a camera that is wanted."""
        return not self.labels and self.min_score <= 0.0

    def wants_camera(self, camera: str) -> bool:
        """Whether a camera is wanted."""
        return not self.cameras or camera in self.cameras

    def wants(self, label: str, score: float) -> bool:
        """Whether a track of that class and confidence is wanted."""
        return (not self.labels or label in self.labels) and score >= self.min_score

    def wants_event(self, event: TrackEvent) -> bool:
        """Whether an event is wanted, by its kind and its own label and score."""
        if self.kinds and event.event not in self.kinds:
            return False
        return self.wants_camera(event.camera) and self.wants(event.label, event.score)

    def of(self, frame: TrackedFrame) -> TrackedFrame:
        """The frame with the tracks that are wanted."""
        if self.all_tracks:
            return frame
        return replace(frame, tracks=tuple(t for t in frame.tracks if self.wants(t.label, t.score)))


def of_one_camera(label: Labels = [], min_score: MinScore = 0.0) -> Selection:  # noqa: B006  # as FastAPI has it
    """The query of routes that name their camera."""
    return Selection(labels=frozenset(label), min_score=min_score)


def of_all_cameras(camera: Cameras = [], label: Labels = [], min_score: MinScore = 0.0) -> Selection:  # noqa: B006
    """The query of routes for all cameras."""
    return Selection(frozenset(camera), frozenset(label), min_score)


def events_of_one_camera(
    wanted: Annotated[Selection, Depends(of_one_camera)],
    event: Kinds = [],  # noqa: B006
) -> Selection:
    """The query of routes for the events of their camera."""
    return replace(wanted, kinds=frozenset(event))


def events_of_all_cameras(
    wanted: Annotated[Selection, Depends(of_all_cameras)],
    event: Kinds = [],  # noqa: B006
) -> Selection:
    """The query of routes for the events of all cameras."""
    return replace(wanted, kinds=frozenset(event))
