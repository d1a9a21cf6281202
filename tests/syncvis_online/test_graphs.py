"""The network's steps as records that are replayed. On a GPU as CUDA graphs; elsewhere as PyTorch's own graphs, which
are records too: of the operations on tensors alone, with all else fixed as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from syncvis_online.features import FrameFeatures
from syncvis_online.graphs import GraphRuntime, RecordedStep, Step, decoding_step, encoding_step
from syncvis_online.online import OnlineTracker
from syncvis_online.runtime import TorchRuntime
from syncvis_online.tensors import decoder_inputs, decoder_output, features_of, level_sizes
from tests.syncvis_online.models import TINY, pictures, tiny_checkpoint, tiny_model
from tests.syncvis_online.test_streaming import TRACKER

SIZE = (64, 96)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device is needed")


class Recorder:
    """Records with `make_fx`, and counts."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, step: Step, inputs: Sequence[Tensor]) -> Step:
        self.made += 1
        graph: Any = make_fx(step, tracing_mode="real")(*inputs)
        return graph


def prepared(seed: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("pixel_decoder", ["fpn", "deformable"])
def test_what_is_recorded_of_one_picture_holds_for_others(pixel_decoder: str) -> None:
    """So no step looks at a number to decide what it does: such a record would be wrong for the next picture."""
    config = replace(TINY, channels=32, pixel_decoder=pixel_decoder)
    runtime = TorchRuntime(tiny_model(3, config))
    encode, decode = Recorder(), Recorder()
    with torch.no_grad():
        encoding = RecordedStep("encoding", encoding_step(runtime), encode)
        decoding = RecordedStep("decoding", decoding_step(runtime, level_sizes(SIZE)), decode)
        for seed in (1, 20, 40):
            wanted = runtime.encode(prepared(seed))
            said = features_of(encoding(prepared(seed)), level_sizes(SIZE))
            torch.testing.assert_close(said.mask_features, wanted.mask_features)
            torch.testing.assert_close(said.projected, wanted.projected)
            features = FrameFeatures.stack([runtime.encode(prepared(seed + t)) for t in range(2)])
            noise = torch.Generator().manual_seed(seed)
            queries = torch.randn(1, config.queries, config.channels, generator=noise, dtype=torch.float64)
            answer = runtime.decode(features, queries)
            replayed = decoder_output(decoding(*decoder_inputs(features, queries)))
            torch.testing.assert_close(replayed.video_queries, answer.video_queries)
            for name in ("logits", "embeds"):
                one, other = (getattr(x.layers[-1].video, name) for x in (replayed, answer))
                torch.testing.assert_close(one, other)
    assert (encode.made, decode.made) == (1, 1)


def test_each_shape_is_recorded_once_and_those_used_last_are_kept() -> None:
    record = Recorder()
    step = RecordedStep("doubling", lambda x: (2 * x,), record, most=2)
    for size, made in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4)):
        assert torch.equal(step(torch.ones(size))[0], torch.full((size,), 2.0))
        assert record.made == made


def test_a_record_that_says_something_else_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """What depends on a number would be recorded as it was once; here on how often it was called."""
    calls = 0

    def step(x: Tensor) -> tuple[Tensor, ...]:
        nonlocal calls
        calls += 1
        return (x * calls,)

    recorded = RecordedStep("counting", step, Recorder())
    with caplog.at_level(logging.WARNING):
        said = [float(recorded(torch.ones(1))[0]) for _ in range(3)]
    assert said == sorted(set(said))
    assert [record.message for record in caplog.records] == [
        "counting of (1,) is not recorded: the record is off by 0.5"
    ]


def test_numbers_that_are_none_are_not_taken_for_agreement(caplog: pytest.LogCaptureFixture) -> None:
    step = RecordedStep("nothing", lambda x: (x / 0.0 - x / 0.0,), Recorder())
    with caplog.at_level(logging.WARNING):
        assert step(torch.ones(1))[0].isnan().all()
    assert "is not recorded" in caplog.text


def test_what_cannot_be_recorded_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(step: Step, inputs: Sequence[Tensor]) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nat somewhere")

    recorded = RecordedStep("adding", lambda x, y: (x + y,), refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert float(recorded(torch.ones(1), torch.ones(1))[0]) == 2.0
    reason = "RuntimeError: operation not permitted when stream is capturing"
    assert [record.message for record in caplog.records] == [
        f"adding of (1,), (1,) is not recorded: {reason}"
    ]


@on_gpu
def test_on_a_gpu_a_video_is_tracked_as_without_records(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tiny_checkpoint(TRACKER, seed=2)
    plain = OnlineTracker(checkpoint, device="cuda")
    recorded = OnlineTracker(checkpoint, device="cuda", runtime=GraphRuntime(checkpoint.model))
    with caplog.at_level(logging.WARNING):
        said = [list(tracker.track_video(pictures(20, seed=5), 10.0)) for tracker in (plain, recorded)]
    assert "not recorded" not in caplog.text
    for one, other in zip(*said, strict=True):
        assert [t.track_id for t in one.tracks] == [t.track_id for t in other.tracks]
        assert [t.score for t in one.tracks] == pytest.approx([t.score for t in other.tracks], abs=1e-3)
