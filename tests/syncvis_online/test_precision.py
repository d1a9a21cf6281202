"""The network in a lower precision sees what it sees in float32, on the frames before the two go ways of their own."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from syncvis_online.errors import ConfigError
from syncvis_online.online import load_tracker
from syncvis_online.types import Track, decode_mask
from tests.syncvis_online.test_openvino import video

FRAMES = 2
CERTAIN = 0.7
"""A score that rounding does not bring below what is answered."""
LEAST_IOU = 0.8


def overlap(one: Track, other: Track) -> float:
    assert one.mask is not None
    assert other.mask is not None
    a, b = decode_mask(one.mask), decode_mask(other.mask)
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_is_certain_in_float32_is_seen_in_less(precision: str) -> None:
    images, fps = video(FRAMES)
    exact, lower = (
        load_tracker("default", device="cpu", precision=each, threads=1) for each in ("float32", precision)
    )
    assert lower.runtime.info.precision == precision
    compared = 0
    for wanted, got in islice(
        zip(exact.track_video(images, fps), lower.track_video(images, fps), strict=True), FRAMES
    ):
        for track in wanted.tracks:
            if track.score >= CERTAIN:
                same = [other for other in got.tracks if other.label == track.label]
                assert max(overlap(track, other) for other in same) >= LEAST_IOU
                compared += 1
    assert compared >= 5
    with torch.inference_mode():
        prepared = exact.prepare(images[0])
        one, other = (each.runtime.encode(prepared).mask_features for each in (exact, lower))
    assert other.dtype == torch.float32
    assert 0 < float((one - other).abs().max()) < 0.1 * float(one.abs().max())


def test_a_lower_precision_is_torch_s_and_an_unknown_one_an_error() -> None:
    assert (
        load_tracker("default", device="cpu", engine="auto", precision="bfloat16").runtime.info.engine
        == "torch"
    )
    with pytest.raises(ConfigError, match="engine 'openvino': the precision is bfloat16, not float32"):
        load_tracker("default", device="cpu", engine="openvino", precision="bfloat16")
    with pytest.raises(ConfigError, match="unknown precision 'int8'"):
        load_tracker("default", device="cpu", precision="int8")
