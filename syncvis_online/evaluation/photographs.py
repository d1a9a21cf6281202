"""Judge a tracker on single photographs: mask AP50 for people, each source of photographs by itself.

Owns the rule of this measurement: one photograph is a video of one frame for a fresh tracker. The figure is
COCO's (area all, at most 100 detections a picture) at IoU 0.5. As a command:
`python -m syncvis_online.evaluation.photographs ROOT [--model NAME_OR_PATH] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from syncvis_online.data.photographs import Photograph, PhotographSet, Split
from syncvis_online.errors import SyncVISError
from syncvis_online.evaluation.average_precision import Candidates, class_figures
from syncvis_online.evaluation.run import TrackerFactory, write_result
from syncvis_online.evaluation.tubes import area, intersections
from syncvis_online.types import LABELS, RLE, Image, Track, encode_mask

THRESHOLD = np.array([0.5])


def evaluate_photographs(
    root: Path,
    tracker_factory: TrackerFactory,
    *,
    split: Split = "heldout",
    label: str = "person",
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """Mask AP50 of `label` on the photographs of a split, by source ("coco", "pennfudan") and for "all".

    Each source has AP50 and AR50 in [0, 1] (None where no instance is labelled) and the counts `photographs`,
    `instances`, `detections`. Photographs in which `label` is not fully annotated are left out. A detection
    that lies mostly (half or more) in an ignored region and matches no instance is not counted. Raises
    DataError for photographs that are missing or damaged.
    """
    index = LABELS.index(label)
    by_source: dict[str, list[Candidates]] = defaultdict(list)
    photographs = PhotographSet(root, split)
    for photograph in tqdm(photographs, unit="photo", desc="photographs", disable=not progress):
        if index not in photograph.labelled:
            continue
        found = _tracks(tracker_factory, photograph.image)
        candidates = _candidates(photograph, index, [track for track in found if track.label == label])
        by_source[photograph.source].append(candidates)
    everything = [sample for samples in by_source.values() for sample in samples]
    return {
        source: _figures(samples) for source, samples in (*sorted(by_source.items()), ("all", everything))
    }


def _tracks(tracker_factory: TrackerFactory, image: Image) -> tuple[Track, ...]:
    answers = list(tracker_factory().track_video([image], 1.0, "streaming"))
    if len(answers) != 1:
        raise ValueError(f"{len(answers)} answers to one frame")
    return answers[0].tracks


def _candidates(photograph: Photograph, label: int, found: list[Track]) -> Candidates:
    masks: list[RLE] = [track.mask for track in found]
    truth = [encode_mask(mask) for mask in photograph.masks[photograph.labels == label]]
    common, of_found = intersections(masks, truth), area(masks)
    union = of_found[:, None] + area(truth)[None] - common
    overlap = _share(common, union)
    # As for COCO's crowds: what counts is how much of the detection lies in the region.
    region = _share(intersections(masks, [encode_mask(photograph.ignore)]), of_found[:, None])
    scores = np.array([track.score for track in found], dtype=np.float64)
    ignored = np.array([False] * len(truth) + [True])
    return Candidates(scores, np.concatenate([overlap, region], axis=1), ignored)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _figures(samples: list[Candidates]) -> dict[str, Any]:
    figures = class_figures(samples, THRESHOLD)
    return {
        "AP50": None if figures is None else float(figures.precision[0]),
        "AR50": None if figures is None else float(figures.recall[0]),
        "photographs": len(samples),
        "instances": sum(int((~sample.ignored).sum()) for sample in samples),
        "detections": sum(len(sample.scores) for sample in samples),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure a model on the photographs held out of training; the figures go to stdout as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", type=Path, help="the folder with instances.json and images/")
    parser.add_argument("--model", default="default", metavar="NAME_OR_PATH")
    parser.add_argument("--split", choices=get_args(Split), default="heldout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args(arguments)
    # The metrics know no model: only the command does.
    from syncvis_online.online import load_tracker

    try:
        tracker = load_tracker(given.model)
        result = evaluate_photographs(given.root, lambda: tracker, split=given.split, progress=True)
        if given.json is not None:
            write_result(given.json, result)
    except SyncVISError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
