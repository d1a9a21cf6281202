"""Cameras' records in Ray's internal key-value store: they are where the control store (GCS) is. With an external
Redis behind that they outlive every node, the head included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray.experimental.internal_kv as kv

from stream.cluster.records import Record

NAMESPACE = b"syncvis-online"
_PREFIX = b"camera/"

T = TypeVar("T")


class RayStorage:
    """See `Storage`."""

    def read(self) -> dict[str, Record]:
        """See `Storage`. Raises OSError, DataError."""
        records = {}
        for key in _asked(kv._internal_kv_list, _PREFIX, namespace=NAMESPACE):
            camera, data = (
                key.removeprefix(_PREFIX).decode(),
                _asked(kv._internal_kv_get, key, namespace=NAMESPACE),
            )
            if data is not None:
                records[camera] = Record.from_json(camera, data)
        return records

    def write(self, camera: str, record: Record) -> None:
        """See `Storage`."""
        _asked(kv._internal_kv_put, _PREFIX + camera.encode(), record.to_json(), namespace=NAMESPACE)


def _asked(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    try:
        return call(*arguments, **options)
    except Exception as error:  # Ray has no one class for these
        raise OSError(f"Ray's control store: {type(error).__name__}: {error}".splitlines()[0]) from error
