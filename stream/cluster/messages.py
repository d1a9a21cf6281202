"""What a worker and the controller tell each other. Values only; Ray pickles them, so both are of one version.

A worker reports twice a second and gets orders. What it is not ordered to hold it lets go of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]
"""A camera's settings as `stream.camera_store.settings_of` writes them; its URL may hold a password."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A camera's tracker, packed, after which it gives ids from `next_id` on. `data`: None where it has none yet."""

    next_id: int
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A camera that a worker is to run from now on, or with other settings: then `revision` is another one.

    `snapshot`: what its tracker goes on from. `first_id`: what it has to be given at least, for ids are never given
    twice on a camera. `trusted`: a config file names it; else its host has to be one that cameras may be at.
    """

    camera: str
    epoch: int
    revision: int
    settings: Settings = field(repr=False)
    trusted: bool = True
    first_id: int = 1
    snapshot: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """A camera that a worker runs. `demand_wps`: windows a second that it asks for; None: not measured yet. `up`: it
    delivers pictures, or waits for somebody to publish it. `error`: why it does not run as ordered, in one line.
    """

    epoch: int
    revision: int
    demand_wps: float | None = None
    up: bool = False
    snapshot: Snapshot | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """A camera that a worker was told to let go of, and publishes no more; its tracker as it was at the end."""

    epoch: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Report:
    """A worker as of now. `prepared`: the cameras that it is ready to go on with, by epoch. `lapsed`: a
    lease of it is over, and it waits to hear whether it is given again. `capacity_wps`: windows a
    second that its engine answers; None: not measured yet. `busy`: the share of the last seconds in which it worked.
    `draining`: it was told that it is to have no cameras: so a controller that begins anew knows.
    """

    worker: str
    address: str
    node: str
    holding: Mapping[str, Held]
    released: Mapping[str, Released] = field(default_factory=dict)
    capacity_wps: float | None = None
    busy: float = 0.0
    pid: int = 0
    prepared: Mapping[str, int] = field(default_factory=dict)
    lapsed: bool = False
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to hold, by epoch, until `lease_s` after it sent the report that this answers. `prepare`: what
    it is to run without publishing anything, by the epoch that it will have should it be given it. `begin`: what of
    both it has not been told yet. `draining`: somebody drains it.
    """

    lease_s: float
    hold: Mapping[str, int]
    begin: tuple[Assignment, ...] = ()
    prepare: Mapping[str, int] = field(default_factory=dict)
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a camera."""

    worker: str
    address: str
    epoch: int
    up: bool = False
    """See `Held`."""
    can_go_on: bool = False
    """Whether there is a snapshot of its tracker, with which it would keep its ids elsewhere."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, as gateways and people see it."""

    worker: str
    address: str
    node: str
    cameras: int
    demand_wps: float
    capacity_wps: float | None
    busy: float
    draining: bool
    pid: int


@dataclass(frozen=True, slots=True)
class Table:
    """Where everything is; `version` grows with each change of an owner. `cameras`: None where nobody has it now."""

    version: int
    cameras: Mapping[str, Owner | None]
    workers: tuple[WorkerState, ...] = ()
    failovers: int = 0
    moves: int = 0
    conflicts: int = 0
    problems: tuple[str, ...] = ()
    controller_pid: int = 0
    places: int = 0
    """How many workers there should be: as many as nodes have room for, but for those that were given back."""
