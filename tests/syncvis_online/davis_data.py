"""A small DAVIS folder, drawn and written to disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLOURS = {1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 255: (224, 224, 192)}
"""The first colours of DAVIS's palette, RGB, from its documentation."""


def write_davis(root: Path) -> Path:
    """Two sequences: object 1 moves right, object 3 appears on the last frame over void pixels."""
    for name in ("bear", "cow"):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / "480p" / name).mkdir(parents=True)
        for t in range(3):
            image = np.full((30, 40, 3), 40 * t, dtype=np.uint8)
            cv2.imwrite(str(root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"), image)
            rgb = np.zeros((30, 40, 3), dtype=np.uint8)
            rgb[5:15, 5 + t : 15 + t] = COLOURS[1]
            if t == 2:
                rgb[20:25, 20:30] = COLOURS[3]
                rgb[25:28, 20:30] = COLOURS[255]
            cv2.imwrite(str(root / "Annotations" / "480p" / name / f"{t:05d}.png"), rgb[..., ::-1])
    return root
