"""WHEP with clients that are not ours, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stream.server import create_app
from tests.stream.viewer_frames import SIZE, make_service, publishing, serving, until
from tests.support.rtsp_server import SYSTEM_PYTHON

pytestmark = pytest.mark.integration

SUPPORT = Path(__file__).parents[1] / "support"
PICTURES = 20


async def watched_by(python: str, script: str) -> tuple[dict[str, Any], Any]:
    """What a client saw of a camera; and the server's sessions after it."""
    service = make_service()
    app = create_app(service)
    async with serving(app) as (_, address), publishing(service):
        await until(lambda: service.hub("cam").latest is not None)
        pipe = asyncio.subprocess.PIPE
        arguments = (str(SUPPORT / script), f"{address}/whep/cam", str(PICTURES))
        client = await asyncio.create_subprocess_exec(python, *arguments, stdout=pipe, stderr=pipe)
        output, errors = await client.communicate()
        assert client.returncode == 0, errors.decode()
        left = len(app.state.sessions)
    return json.loads(output), left


async def test_gstreamer_watches() -> None:
    seen, left = await watched_by(SYSTEM_PYTHON, "gst_whep_client.py")
    assert seen["pictures"] >= PICTURES
    assert (seen["height"], seen["width"]) == SIZE
    assert left == 0, "it ended its session"


async def test_aiortc_watches() -> None:
    seen, left = await watched_by(sys.executable, "aiortc_whep_client.py")
    assert seen["pictures"] >= PICTURES
    assert (seen["height"], seen["width"]) == SIZE
    assert left == 0, "it ended its session"
