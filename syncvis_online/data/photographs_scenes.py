"""Which photographs show one scene: two backgrounds with the same landmarks, or neighbours that look alike.

Owns the grouping that keeps a scene on one side of the split. Run as
`python -m syncvis_online.data.photographs_scenes ROOT OUTPUT.yaml` to make the file that ships. Only the
Penn-Fudan photographs are compared: they were taken in a few walks through two places, the others were not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from syncvis_online.data.photographs import Photograph, PhotographSet

MIN_LANDMARKS = 5
"""Landmarks that agree with one shift, zoom and turn. On Penn-Fudan, pairs of unlike places reach 4."""
MIN_LIKENESS = 0.6
"""Bhattacharyya coefficient of the colours, for neighbours in the list of files (taken one after another)."""


@dataclass(frozen=True, slots=True)
class Background:
    """What is behind the people: SIFT points (K, 2), descriptors (K, 128), colour histograms (3, 1536).

    The histograms are CIELAB, of the upper, middle and lower third, as square roots of frequencies.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    colours: NDArray[np.float32]


def describe_background(photograph: Photograph) -> Background:
    """Describe what is behind the people of a photograph."""
    people = np.ascontiguousarray(photograph.masks.any(axis=0), dtype=np.uint8)
    free = 1 - cv2.dilate(people, np.ones((15, 15), np.uint8))
    grey = cv2.cvtColor(photograph.image, cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = cv2.SIFT.create(1500).detectAndCompute(grey, free * 255)
    points = np.array([k.pt for k in keypoints], dtype=np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.zeros((0, 128), dtype=np.float32)
    lab = cv2.cvtColor(photograph.image, cv2.COLOR_RGB2LAB)
    colours = []
    for rows in np.array_split(np.arange(lab.shape[0]), 3):
        part, mask = np.ascontiguousarray(lab[rows]), np.ascontiguousarray(free[rows])
        bins = cv2.calcHist([part], [0, 1, 2], mask, [6, 16, 16], [0, 256, 96, 160, 96, 160]).ravel()
        colours.append(np.sqrt(bins / max(float(bins.sum()), 1.0)))
    return Background(points, descriptors.astype(np.float32), np.stack(colours).astype(np.float32))


def common_landmarks(a: Background, b: Background) -> int:
    """How many landmarks of two backgrounds agree with one similarity transform (mutual, ratio 0.8)."""
    if min(len(a.points), len(b.points)) < 2:
        return 0
    squared = (a.descriptors**2).sum(1)[:, None] + (b.descriptors**2).sum(1)[None]
    distance = np.sqrt(np.maximum(squared - 2 * a.descriptors @ b.descriptors.T, 0))
    rows = np.arange(len(a.points))
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == rows
    best = distance[rows, nearest].copy()
    distance[rows, nearest] = np.inf
    good = mutual & (best < 0.8 * distance.min(axis=1))
    if int(good.sum()) < MIN_LANDMARKS:
        return 0
    source, target = a.points[good], b.points[nearest[good]]
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=6.0, maxIters=3000)
    if transform is None:
        return 0
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    turn = abs(float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0]))))
    if not 1 / 3 < scale < 3 or turn > 20:
        return 0
    agreeing = inliers[:, 0] > 0
    # Many points on one spot of either picture are one landmark, not many.
    return min(len(np.unique((p[agreeing] / 3).round(), axis=0)) for p in (source, target))


def group_scenes(photographs: list[Photograph]) -> list[list[str]]:
    """Groups (two or more) of file names that show one scene; `photographs` in the order of their names."""
    described = [describe_background(photograph) for photograph in tqdm(photographs, desc="describe")]
    parent = list(range(len(photographs)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    pairs = list(combinations(range(len(photographs)), 2))
    for i, j in tqdm(pairs, desc="compare"):
        alike = j == i + 1 and _likeness(described[i], described[j]) >= MIN_LIKENESS
        if alike or common_landmarks(described[i], described[j]) >= MIN_LANDMARKS:
            parent[root(j)] = root(i)
    groups: dict[int, list[str]] = {}
    for i, photograph in enumerate(photographs):
        groups.setdefault(root(i), []).append(photograph.name)
    return [group for group in groups.values() if len(group) > 1]


def _likeness(a: Background, b: Background) -> float:
    return float((a.colours * b.colours).sum(axis=1).mean())


def main() -> None:
    """Write the scene groups of a data set as YAML."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    photographs = [p for p in PhotographSet(arguments.root, "all") if p.source == "pennfudan"]
    text = yaml.safe_dump({"scenes": group_scenes(photographs)}, default_flow_style=False)
    header = (
        "# Photographs that show one scene. Made by `python -m syncvis_online.data.photographs_scenes`.\n"
    )
    arguments.output.write_text(header + text, encoding="utf-8")


if __name__ == "__main__":
    main()
