"""A small photograph data set, drawn and written to disk, for the tests of what reads and pastes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from syncvis_online.types import encode_mask

CATEGORIES = ({"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 22, "name": "elephant"})
HEIGHT, WIDTH = 120, 160


def write_photographs(root: Path, names: list[str]) -> dict[str, Any]:
    """Write textured pictures, each with a person (left), a car (right) and an elephant (a strip below)."""
    rng = np.random.default_rng(7)
    (root / "images").mkdir(parents=True)
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": list(CATEGORIES)}
    for i, name in enumerate(names):
        picture = cv2.resize(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        cv2.imwrite(str(root / "images" / name), picture)
        image = {"id": i + 1, "file_name": name, "height": HEIGHT, "width": WIDTH}
        document["images"].append(image | {"source": name.partition("_")[0]})
        for category, (y0, y1, x0, x1) in (
            (1, (20, 90, 20, 60)),
            (3, (40, 80, 90, 150)),
            (22, (100, 115, 0, 160)),
        ):
            mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
            mask[y0:y1, x0:x1] = True
            annotation = {"image_id": i + 1, "category_id": category, "iscrowd": 0}
            annotation |= {"id": len(document["annotations"]) + 1, "segmentation": encode_mask(mask)}
            document["annotations"].append(annotation)
    save(root, document)
    return document


def save(root: Path, document: dict[str, Any]) -> None:
    """Write `instances.json`."""
    (root / "instances.json").write_text(json.dumps(document), encoding="utf-8")
