"""Deformable attention's two forms are one function, to the last bits and in their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from syncvis_online.deformable import sample_levels, sample_maps, sample_rows

SIZES = [(3, 5), (6, 10), (11, 20)]


def arguments(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Values, places (also outside of the maps, and exactly on borders and centres), weights."""
    rng = torch.Generator().manual_seed(seed)
    B, Q, M, d, P = 2, 7, 4, 6, 3
    cells = sum(h * w for h, w in SIZES)
    value = torch.randn(B, cells, M, d, generator=rng, dtype=torch.float64)
    places = torch.rand(B, Q, M, len(SIZES), P, 2, generator=rng, dtype=torch.float64) * 1.6 - 0.3
    places[0, 0] = torch.tensor([0.0, 1.0])
    places[0, 1, :, 0] = torch.tensor([2.5 / 5, 1.5 / 3])  # the centre of a cell of the first level
    weights = torch.rand(B, Q, M, len(SIZES) * P, generator=rng, dtype=torch.float64).softmax(-1)
    return value.to(dtype), places.to(dtype), weights.view(B, Q, M, len(SIZES), P).to(dtype)


@pytest.mark.parametrize("seed", range(4))
def test_by_rows_is_by_maps_also_in_its_gradients(seed: int) -> None:
    made = []
    for sample in (sample_maps, sample_rows):
        value, places, weights = (x.requires_grad_() for x in arguments(seed))
        out = sample(value, SIZES, places, weights)
        # Away from cell centres, where the gradient by the place has two sides.
        mask = torch.ones_like(out)
        mask[0, 1] = 0
        (out * mask * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        made.append([out.detach(), value.grad, places.grad, weights.grad])
    for by_maps, by_rows in zip(*made, strict=True):
        torch.testing.assert_close(by_rows, by_maps, rtol=0, atol=1e-12)


def test_what_is_outside_of_every_map_is_zero() -> None:
    value, places, weights = arguments(0)
    for sample in (sample_maps, sample_rows):
        assert not sample(value, SIZES, places + 3, weights).any()


def test_half_precision_keeps_its_type_and_reads_the_right_cells() -> None:
    value, places, weights = arguments(1, torch.bfloat16)
    out = sample_levels(value, SIZES, places, weights)
    assert out.dtype == torch.bfloat16
    exact = sample_maps(value.double(), SIZES, places.double(), weights.double())
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=0.02)
