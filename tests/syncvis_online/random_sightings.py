"""Objects of a frame that are anything: for properties of who is who."""

from __future__ import annotations

import numpy as np

from syncvis_online.identities import UNUSED, Sightings

LABELS = 3


def random_sightings(rng: np.random.Generator, n: int, looks: int) -> Sightings:
    """n objects, held by no slot, whose looks are so many numbers; classes below LABELS."""
    corner = rng.uniform(0, 1, (n, 2))
    return Sightings(
        boxes=np.concatenate([corner, corner + rng.uniform(0.02, 0.5, (n, 2))], axis=1),
        colors=rng.normal(0, 60, (n, 6)),
        looks=rng.normal(size=(n, looks)),
        labels=rng.integers(0, LABELS, n),
        scores=rng.uniform(0.1, 1, n),
        held=np.full(n, UNUSED, dtype=np.int64),
    )
