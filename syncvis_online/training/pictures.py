"""A picture of what the model says of one clip: the truth above, its own answers below, a column a frame."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from syncvis_online.checkpoint import Checkpoint
from syncvis_online.colors import color_of
from syncvis_online.config import TrackerConfig
from syncvis_online.data.clips import Clip
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker
from syncvis_online.types import Image, Mask, decode_mask

FPS = 10.0
GAP_PX = 4
TINT = 0.55


def sample_picture(model: SyncVIS, config: TrackerConfig, clip: Clip) -> Image:
    """What `config`'s tracker says of `clip` with the model as it is, (2 H + gap, T W + gaps, 3) uint8 RGB.

    Colours are identities: those below are the tracker's ids. Each module's mode is as before after it.
    """
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    try:
        tracker = OnlineTracker(Checkpoint(model.eval(), config, {}), config, str(device))
        answers = list(tracker.track_video(clip.images, FPS))
    finally:
        for module, training in modes:
            module.training = training
    truth = [
        _tinted(image, ((i + 1, mask) for i, mask in enumerate(clip.masks[:, t])))
        for t, image in enumerate(clip.images)
    ]
    said = [
        _tinted(image, ((track.track_id, decode_mask(track.mask)) for track in answer.tracks))
        for image, answer in zip(clip.images, answers, strict=True)
    ]
    return _grid([truth, said])


def _tinted(image: Image, masks: Iterable[tuple[int, Mask]]) -> Image:
    canvas = image.copy()
    for identity, mask in masks:
        canvas[mask] = (canvas[mask] * (1 - TINT) + np.array(color_of(identity)) * TINT).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, color_of(identity), 1)
    return canvas


def _grid(rows: list[list[Image]]) -> Image:
    height, width, _ = rows[0][0].shape
    grid = np.full(
        (len(rows) * (height + GAP_PX) - GAP_PX, len(rows[0]) * (width + GAP_PX) - GAP_PX, 3), 255, np.uint8
    )
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            y, x = r * (height + GAP_PX), c * (width + GAP_PX)
            grid[y : y + height, x : x + width] = image
    return grid
