"""Folding changes nothing but rounding, and only for inference."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from syncvis_online.checkpoint import load_model
from syncvis_online.folding import fold_batch_norms
from tests.syncvis_online.models import tiny_model


@torch.inference_mode()
def test_the_weights_that_ship_give_the_same_features() -> None:
    model = load_model("default").model
    folded = deepcopy(model)
    norms = sum(isinstance(each, nn.BatchNorm2d) for each in model.modules())
    assert fold_batch_norms(folded) == norms > 0
    assert not any(isinstance(each, nn.BatchNorm2d) for each in folded.modules())
    assert fold_batch_norms(folded) == 0
    pictures = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(5))
    for wanted, got in zip(_tensors(model, pictures), _tensors(folded, pictures), strict=True):
        assert float((wanted - got).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


def _tensors(model: nn.Module, pictures: torch.Tensor) -> list[torch.Tensor]:
    features = model.encode(pictures)  # type: ignore[operator]
    return [*features.levels, features.mask_features, *features.level_masks]


def test_a_model_that_is_trained_is_left_alone() -> None:
    model = tiny_model(0).train()
    with pytest.raises(ValueError, match="being trained"):
        fold_batch_norms(model)
