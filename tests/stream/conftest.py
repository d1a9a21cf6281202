"""What tests of the live side share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.turn_server import turn_server


@pytest.fixture(scope="session")
def stun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a STUN server that answers: where none does, five seconds pass until it is given up."""
    with turn_server(tmp_path_factory.mktemp("coturn")) as port:
        yield f"stun:127.0.0.1:{port}"
