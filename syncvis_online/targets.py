"""What a training window should say: masks, labels, and where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """Ground truth of B windows of T frames, padded to I instances.

    masks (B, I, T, h, w) in [0, 1] at the size of the mask features (share of the cell that is covered);
    labels (B, I), -1 for padding; valid (B, T, h, w), 0 where the loss is not counted. An
    instance with less than `min_cells` of visible area on a frame is absent there. labelled (B, K) bool: the classes of
    which every visible object is among the instances; None: all.
    """

    masks: Tensor
    labels: Tensor
    valid: Tensor
    min_cells: float = 1.0
    labelled: Tensor | None = None

    def frames(self, index: Sequence[int]) -> Targets:
        """The same instances on some of the frames."""
        keep = list(index)
        return replace(self, masks=self.masks[:, :, keep], valid=self.valid[:, keep])

    def one_by_one(self) -> Targets:
        """Every frame as a window of its own, (B * T, ...)."""
        T = self.masks.shape[2]
        return Targets(
            self.masks.transpose(1, 2).flatten(0, 1)[:, :, None],
            self.labels[:, None].expand(-1, T, -1).flatten(0, 1),
            self.valid.flatten(0, 1)[:, None],
            self.min_cells,
            None if self.labelled is None else self.labelled.repeat_interleave(T, dim=0),
        )

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        labelled = None if self.labelled is None else self.labelled.to(device)
        return Targets(
            self.masks.to(device), self.labels.to(device), self.valid.to(device), self.min_cells, labelled
        )

    def pin_memory(self) -> Targets:
        """The same in page-locked memory, from which a GPU copies faster; a loader asks for it."""
        labelled = None if self.labelled is None else self.labelled.pin_memory()
        masks, labels, valid = (x.pin_memory() for x in (self.masks, self.labels, self.valid))
        return Targets(masks, labels, valid, self.min_cells, labelled)

    def present(self) -> Tensor:
        """Which instances are visible on which frame, (B, I, T)."""
        return (self.masks.sum((-2, -1)) >= self.min_cells) & (self.labels >= 0)[..., None]
