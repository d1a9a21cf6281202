"""Labelled photographs: a folder with COCO-format `instances.json` and `images/`, and its split.

Owns which photograph is held out of training: files sorted by name, every fifth (index % 5 == 0). Photographs
that show the scene of a held-out one (`configs/data/photograph_scenes.yaml`, made by
`python -m syncvis_online.data.photographs_scenes`) are left out of training: no scene is on both sides.
Knows nothing of clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from syncvis_online.data.annotations import check_picture, checked_rle, read_json, require
from syncvis_online.errors import ConfigError, DataError
from syncvis_online.paths import find_config
from syncvis_online.types import LABELS, RLE, Image, Mask, decode_mask

Split = Literal["train", "heldout", "all"]
HELDOUT_EVERY = 5


@dataclass(frozen=True, slots=True)
class Photograph:
    """One labelled picture.

    `image` (H, W, 3) uint8 RGB; `labels` (I,) int64 indices of the set's labels; `masks` (I, H, W) bool; `ignore`
    (H, W) bool: crowds and classes that are no labels, where neither a detection nor its absence counts.
    `labelled` holds the indices of the labels whose every instance in this picture is annotated.
    """

    name: str
    source: str
    image: Image = field(repr=False)
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] = field(repr=False)
    ignore: Mask = field(repr=False)
    labelled: frozenset[int] = frozenset(range(len(LABELS)))


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    source: str
    path: Path
    size: tuple[int, int]
    labelled: frozenset[int]
    instances: tuple[tuple[int, RLE], ...]
    ignored: tuple[RLE, ...]


class PhotographSet:
    """The photographs of one split, in the order of their file names; pictures are read when asked for.

    `annotations` and `images`: the JSON and the folder of pictures in `root` (COCO's are
    `annotations/instances_train2017.json` and `train2017`); `labels`: the classes wanted, the rest is ignored;
    `classes`: the label that an annotated class counts as, where its name differs. Of the split "all" only those that
    show a class wanted are kept. Raises DataError naming file and entry when the JSON, a mask or an image file is
    missing or wrong, or when there is nothing to learn from; all is checked here, before any work starts.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        labels: Sequence[str] = LABELS,
        annotations: str = "instances.json",
        images: str = "images",
        classes: Mapping[str, str] | None = None,
    ) -> None:
        if split not in get_args(Split):
            raise ConfigError(f"unknown split '{split}' (there are: {', '.join(get_args(Split))})")
        self.root, self.split = Path(root), split
        wanted = _Wanted(tuple(labels), classes or {})
        entries = _read_entries(self.root / annotations, self.root / images, wanted)
        kept = split_names(
            [entry.name for entry in entries], split, load_scenes() if split == "train" else []
        )
        self._entries = [
            entry for entry in entries if entry.name in kept and (split != "all" or entry.instances)
        ]
        if split != "heldout" and not any(entry.instances for entry in self._entries):
            raise DataError(
                f"{self.root / annotations}: no photograph of '{split}' shows a class that is wanted"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Photograph]:
        return (self[i] for i in range(len(self)))

    @property
    def names(self) -> tuple[str, ...]:
        """The file names, sorted."""
        return tuple(entry.name for entry in self._entries)

    def __getitem__(self, index: int) -> Photograph:
        """Read and decode one photograph. Raises DataError when the picture cannot be decoded."""
        entry = self._entries[index]
        bgr = cv2.imread(str(entry.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is None or bgr.shape[:2] != entry.size:
            found = "not a picture" if bgr is None else f"size {bgr.shape[:2]}"
            raise DataError(f"{entry.path}: {found}, annotated as (height, width) {entry.size}")
        masks = np.zeros((len(entry.instances), *entry.size), dtype=np.bool_)
        for i, (_, rle) in enumerate(entry.instances):
            masks[i] = decode_mask(rle)
        ignore = np.zeros(entry.size, dtype=np.bool_)
        for rle in entry.ignored:
            ignore |= decode_mask(rle)
        labels = np.array([label for label, _ in entry.instances], dtype=np.int64)
        ignore &= ~masks.any(axis=0)
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        return Photograph(entry.name, entry.source, rgb, labels, masks, ignore, entry.labelled)


def split_names(names: list[str], split: Split, scenes: list[list[str]]) -> set[str]:
    """Which of `names` belong to `split`, given groups of names that show one scene."""
    ordered = sorted(names)
    heldout = set(ordered[::HELDOUT_EVERY])
    if split == "all":
        return set(ordered)
    if split == "heldout":
        return heldout
    linked = {name for scene in scenes if heldout & set(scene) for name in scene}
    return set(ordered) - heldout - linked


def load_scenes() -> list[list[str]]:
    """The groups of file names that show one scene, from `configs/data/photograph_scenes.yaml`."""
    path = find_config("data", "photograph_scenes")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    scenes = document.get("scenes") if isinstance(document, dict) else None
    if not isinstance(scenes, list) or not all(isinstance(scene, list) for scene in scenes):
        raise ConfigError(f"{path}: 'scenes' must be a list of lists of file names")
    return scenes


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The classes wanted, and by which names they are annotated."""

    labels: tuple[str, ...]
    classes: Mapping[str, str]

    def label(self, name: str) -> int | None:
        """The index of the label that an annotated class counts as; None when it is not wanted."""
        label = self.classes.get(name, name)
        return self.labels.index(label) if label in self.labels else None


def _read_entries(path: Path, folder: Path, wanted: _Wanted) -> list[_Entry]:
    document = read_json(path)
    names = {
        require(c, "id", int, f"{path}: category {i}"): require(c, "name", str, f"{path}: category {i}")
        for i, c in enumerate(require(document, "categories", list, str(path)))
    }
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for i, annotation in enumerate(require(document, "annotations", list, str(path))):
        by_image[require(annotation, "image_id", int, f"{path}: annotation {i}")].append(annotation)
    images = require(document, "images", list, str(path))
    if not images:
        raise DataError(f"{path}: lists no image")
    entries = [
        _read_entry(folder, image, names, by_image, wanted, f"{path}: image {i}")
        for i, image in enumerate(images)
    ]
    if by_image:
        raise DataError(f"{path}: annotations of images that are not listed: {sorted(by_image)[:5]}")
    return sorted(entries, key=lambda entry: entry.name)


def _read_entry(
    folder: Path,
    image: Any,
    names: dict[int, str],
    by_image: dict[int, list[dict[str, Any]]],
    wanted: _Wanted,
    where: str,
) -> _Entry:
    name = require(image, "file_name", str, where)
    size = require(image, "height", int, where), require(image, "width", int, where)
    file = folder / name
    check_picture(file, where)
    instances: list[tuple[int, RLE]] = []
    ignored: list[RLE] = []
    for annotation in by_image.pop(require(image, "id", int, where), []):
        here = f"{where} ({name}), annotation {annotation.get('id')}"
        category = require(annotation, "category_id", int, here)
        if category not in names:
            raise DataError(f"{here}: unknown category_id {category}")
        rle = checked_rle(annotation.get("segmentation"), *size, here)
        label = wanted.label(names[category])
        if annotation.get("iscrowd") or label is None:
            ignored.append(rle)
        else:
            instances.append((label, rle))
    source = str(image.get("source", name.partition("_")[0]))
    labelled = frozenset(
        label for label in map(wanted.label, _complete(image, source, names)) if label is not None
    )
    return _Entry(name, source, file, size, labelled, tuple(instances), tuple(ignored))


def _complete(image: dict[str, Any], source: str, names: dict[int, str]) -> Iterable[str]:
    """The annotated classes of which no object of the picture is left out."""
    # Penn-Fudan has people only, whatever the flag says: its cars are in the picture and not in the file.
    if source == "pennfudan":
        return ("person",)
    if image.get("only_person_car_labelled", False):
        return ("person", "car")
    return names.values()
