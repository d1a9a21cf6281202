from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rtsp_server import RtspServer


@pytest.fixture
def rtsp_server(tmp_path: Path) -> Iterator[RtspServer]:
    """A real RTSP server on loopback; it starts with the first clip that it is given."""
    with RtspServer(tmp_path) as server:
        yield server
