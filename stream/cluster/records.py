"""What has to outlive everything of a camera: its settings, the last epoch, and a bound of the ids that it was given.

Owns that form, as JSON, and the interface of where it is kept. A camera that was removed leaves its epoch and its bound
behind: should one of that name come back, it gives no id twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from stream.cluster.messages import Settings
from stream.errors import DataError

FORMAT = "syncvis-online-cluster-camera/1"
BLOCK = 100_000
"""By so many ids the bound is raised: more than a tracker gives in the seconds for which a lease lasts."""


@dataclass(frozen=True, slots=True)
class Record:
    """`settings`: None of a camera that was removed. `trusted`: see `Assignment`. `id_bound`: no id at or above it was
    ever given.
    """

    settings: Settings | None
    trusted: bool = True
    revision: int = 1
    epoch: int = 0
    id_bound: int = 1

    def to_json(self) -> bytes:
        """As it is kept."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()

    @staticmethod
    def from_json(camera: str, data: bytes) -> Record:
        """What `to_json` wrote. Raises DataError, which repeats no value: it may be a password."""
        try:
            content = json.loads(data)
            if content.pop("format") != FORMAT:
                raise ValueError
            record = Record(**content)
            numbers = (record.revision, record.epoch, record.id_bound)
            if not all(type(number) is int and number >= 0 for number in numbers):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"camera {camera}: what the cluster kept of it cannot be read") from None
        return record


class Storage(Protocol):
    """Where records are kept, whatever process dies. Raises OSError where nothing can be written."""

    def read(self) -> Mapping[str, Record]:
        """All that was written."""
        ...

    def write(self, camera: str, record: Record) -> None:
        """It is kept when this returns."""
        ...
