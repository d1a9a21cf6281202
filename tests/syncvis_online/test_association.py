"""Which query answers for which slot, from window to window."""

from __future__ import annotations

import numpy as np
import torch

from syncvis_online.association import ASSOCIATIONS, Cosine, Propagate
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.features import FrameFeatures
from syncvis_online.tracker import SlotTracker
from tests.syncvis_online.models import TINY, tiny_model

N = TINY.queries


def test_cosine_finds_the_queries_again_in_any_order_and_at_any_length() -> None:
    rng = torch.Generator().manual_seed(0)
    carried = torch.randn(N, 16, generator=rng, dtype=torch.float64)
    order = torch.randperm(N, generator=rng)
    decoded = torch.empty_like(carried)
    decoded[order] = carried * torch.rand(N, 1, generator=rng, dtype=torch.float64)
    decoded += 0.01 * torch.randn(N, 16, generator=rng, dtype=torch.float64)
    assert (Cosine().assign(carried, decoded) == order.numpy()).all()


def test_cosine_starts_every_window_from_the_learned_queries_and_propagate_from_the_carried() -> None:
    model = tiny_model()
    carried = torch.randn(2, N, TINY.channels, dtype=torch.float64)
    learned = model.carry(model.decoder.video_query)
    for row in Cosine().start(model, carried, None):
        assert torch.equal(row, learned)
    assert torch.equal(Propagate().start(model, carried, None), model.carry(carried))
    assert (Propagate().assign(carried[0], carried[1]) == np.arange(N)).all()


def test_identities_follow_the_query_that_looks_the_same() -> None:
    """Two objects whose queries change places from window to window, masks and all."""
    tracker = SlotTracker(tiny_model(), TrackerConfig(window_frames=1, association="cosine", min_area=1))
    state = tracker.initial_state()
    rng = np.random.default_rng(0)
    looks = torch.from_numpy(rng.normal(size=(N, TINY.channels)))
    seen = []
    for window in range(5):
        order = torch.from_numpy(rng.permutation(N))
        logits = torch.full((N, len(TINY.labels) + 1), -30.0, dtype=torch.float64)
        logits[:, -1] = 30.0
        embeds = torch.full((N, N), -30.0, dtype=torch.float64)
        for thing, label in ((0, 2), (1, 4)):
            logits[thing, label], logits[thing, -1] = 30.0, -30.0
            embeds[thing, thing] = 30.0
        prediction = BranchPrediction(logits[order][None], embeds[order][None])
        output = DecoderOutput((LayerPrediction(prediction, prediction),), looks[order][None])
        maps = torch.eye(N, dtype=torch.float64).view(1, 1, N, 1, N).expand(1, 1, N, 2, N)
        features = FrameFeatures((), (), maps, ())
        answered, state = tracker.update(features, output, 0, [0.1 * window], 1, state)
        seen.append({d.track_id: (d.label, int(d.logits.argmax())) for d in answered[0]})
    assert len(seen[0]) == 2
    assert all(answer == seen[0] for answer in seen)


def test_every_association_of_the_config_exists() -> None:
    for name in ASSOCIATIONS:
        assert TrackerConfig(association=name).association == name  # type: ignore[arg-type]
