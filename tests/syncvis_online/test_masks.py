"""Masks are the same whether a rectangle of them is enlarged or the whole; run lengths, whatever order they lie in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from syncvis_online.masks import disjoint_masks
from syncvis_online.tracker import Detection
from syncvis_online.types import Mask, box_of_mask, decode_mask, encode_mask

Logits = NDArray[np.float32]


def blobs(seed: int, cells: tuple[int, int], count: int = 6) -> list[Logits]:
    """Smooth random logits: from nothing inside to nearly all."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 5, 7)).astype(np.float32)
    levels = np.linspace(-0.5, 3.0, count, dtype=np.float32)
    size = cells[::-1]
    return [
        cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) - level
        for each, level in zip(coarse, levels, strict=True)
    ]


def enlarged_whole(logits: list[Logits], size: tuple[int, int]) -> list[Mask]:
    """What each is the largest of, and inside, where all are enlarged."""
    large = np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_LINEAR) for each in logits])
    best = large.argmax(0)
    return [(best == i) & (each > 0) for i, each in enumerate(large)]


@pytest.mark.parametrize(
    ("cells", "size"),
    [
        ((96, 160), (360, 640)),
        ((96, 128), (480, 640)),
        ((48, 80), (1080, 1920)),
        ((48, 80), (37, 53)),  # smaller, and no cell's edge is a pixel's
        ((20, 30), (20, 30)),
    ],
)
def test_what_is_enlarged_in_part_is_as_where_all_of_it_is(
    cells: tuple[int, int], size: tuple[int, int]
) -> None:
    pixels = 0
    for seed in range(5):
        logits = blobs(seed, cells)
        found = disjoint_masks([Detection(i + 1, 0, 0.5, each) for i, each in enumerate(logits)], size)
        for one, other in zip(found, enlarged_whole(logits, size), strict=True):
            np.testing.assert_array_equal(one, other)
            pixels += np.count_nonzero(one)
    assert pixels > size[0] * size[1]


def test_nothing_inside_and_all_inside() -> None:
    nothing, everything = np.full((4, 6), -1.0, np.float32), np.full((4, 6), 1.0, np.float32)
    masks = disjoint_masks([Detection(1, 0, 0.5, nothing), Detection(2, 0, 0.5, everything)], (10, 15))
    assert [np.count_nonzero(mask) for mask in masks] == [0, 150]


def test_run_lengths_and_boxes_do_not_depend_on_how_a_mask_lies_in_memory() -> None:
    rows = blobs(1, (33, 47))[2] > 0
    columns = np.asfortranarray(rows)
    assert encode_mask(rows) == encode_mask(columns) == encode_mask(rows.astype(np.uint8))
    np.testing.assert_array_equal(decode_mask(encode_mask(columns)), rows)
    ys, xs = np.nonzero(rows)
    box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert box_of_mask(rows) == box_of_mask(columns) == box
