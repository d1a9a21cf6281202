"""Pictures of which parts were lost or wrong are told from whole ones: by the pictures themselves, which are known."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from stream.sources import SourceOptions, open_source
from stream.types import DAMAGED, Frame
from syncvis_online.types import Image
from tests.faults.stage import Clip, serve
from tests.support.rtp_faults import Corrupting, Lossy
from tests.support.rtsp_proxy import RtpFault, RtspProxy
from tests.support.rtsp_server import RtspServer, read_index

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CLIP = Clip(seconds=2.56, gop=8)
"""A wrong bit that nobody notices stays up to the next key frame."""
NUMBER_ROWS = 32
"""The upper rows show the picture's number; all below has to be as it was sent, but for what encoding costs."""
WHOLE = 3.0
"""Mean difference of pixel values, 0 to 255, up to which a picture is as it was sent; measured: 1.7 at most."""


def is_whole(frame: Frame, sent: list[Image]) -> bool:
    if frame.image.shape != sent[0].shape:  # a wrong bit in a parameter set
        return False
    original = sent[read_index(frame.image) % len(sent)][NUMBER_ROWS:]
    return float(np.abs(frame.image[NUMBER_ROWS:].astype(np.int16) - original).mean()) < WHOLE


@pytest.mark.parametrize(
    ("transport", "fault", "unnoticed_share"),
    [("udp", Lossy(0.05), 0.1), ("tcp", Corrupting(0.1), 0.5)],
    ids=["lost", "wrong"],  # a bit that is wrong may make another picture that is none the less one
)
async def test_damaged_pictures_are_flagged_and_whole_ones_are_not(
    tmp_path: Path, transport: str, fault: RtpFault, unnoticed_share: float
) -> None:
    sent = CLIP.pictures()
    with RtspServer(tmp_path) as server:
        await serve(server, CLIP, tmp_path)
        async with RtspProxy(server.port) as proxy:
            url = proxy.through(server.url(server.mounts[0]))
            options = SourceOptions.model_validate({"transport": transport})
            async with aclosing(open_source("door", url, options=options).frames()) as frames:
                before = [await anext(frames) for _ in range(20)]
                proxy.rtp = fault
                taken = [await anext(frames) for _ in range(60)]
    assert all(is_whole(frame, sent) and not frame.flags for frame in before)
    damaged = [frame for frame in taken if not is_whole(frame, sent)]
    unnoticed = [frame for frame in damaged if DAMAGED not in frame.flags]
    assert len(damaged) >= 10
    assert len(unnoticed) <= unnoticed_share * len(damaged), f"{len(unnoticed)} of {len(damaged)}"
