"""DAVIS folders (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017): pictures, and one palette picture of ids a frame.

Its objects have no classes: they get the one label that the caller names.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.annotations import check_picture
from syncvis_online.data.youtube_vis import GroundTruthTube, LabelledVideo
from syncvis_online.errors import DataError
from syncvis_online.types import encode_mask

VOID = 255
"""Marks pixels that nobody decided on."""
FIRST_GREY = 22
"""The first id to which DAVIS's palette gives a grey."""


def read_davis(
    folder: Path, sequences: Path | None = None, label: str = "object"
) -> tuple[LabelledVideo, ...]:
    """The sequences of a DAVIS folder, those that a list (`ImageSets/2017/train.txt`) names, or all of them.

    The first resolution is taken (480p where it is there). Raises DataError naming the file for pictures without
    annotation, annotations that are no palette picture or of another size, and names that do not exist.
    """
    pictures, annotations = _resolution(folder, "JPEGImages"), _resolution(folder, "Annotations")
    names = sorted(path.name for path in annotations.iterdir() if path.is_dir())
    if sequences is not None:
        try:
            listed = sequences.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{sequences}: cannot be read ({error})") from None
        missing = sorted(set(listed) - set(names))
        if missing:
            raise DataError(f"{sequences}: names '{missing[0]}', which {annotations} does not hold")
        names = listed
    if not names:
        raise DataError(f"{annotations}: holds no sequence")
    return tuple(_read(pictures / name, annotations / name, label) for name in names)


def _resolution(folder: Path, kind: str) -> Path:
    root = folder / kind
    if not root.is_dir():
        raise DataError(f"{folder}: has no folder '{kind}'")
    named = [root / "480p", *sorted(path for path in root.iterdir() if path.is_dir())]
    return next((path for path in named if path.is_dir()), root)


def _read(pictures: Path, annotations: Path, label: str) -> LabelledVideo:
    files = tuple(sorted(pictures.glob("*.jpg")))
    if not files:
        raise DataError(f"{pictures}: holds no pictures")
    masks: dict[int, dict[int, NDArray[np.bool_]]] = {}
    size = (0, 0)
    for t, file in enumerate(files):
        check_picture(file, str(pictures))
        ids = _ids(annotations / f"{file.stem}.png")
        if t and ids.shape != size:
            raise DataError(f"{annotations / file.stem}.png: is {ids.shape}, the frames before are {size}")
        size = (ids.shape[0], ids.shape[1])
        for track_id in set(np.unique(ids).tolist()) - {0, VOID}:
            masks.setdefault(track_id, {})[t] = ids == track_id
    tubes = tuple(
        GroundTruthTube(
            track_id, label, tuple(encode_mask(by[t]) if t in by else None for t in range(len(files)))
        )
        for track_id, by in sorted(masks.items())
    )
    return LabelledVideo(pictures.name, size, None, files, frozenset({label}), tubes)


def _ids(file: Path) -> NDArray[np.uint8]:
    """The ids in a palette picture, (H, W). OpenCV gives a palette's colours: ids are told apart by those."""
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"{file}: no such picture, or a damaged one")
    packed = bgr.astype(np.int64) @ np.array([1, 256, 65536])
    ids = np.zeros(packed.shape, dtype=np.uint8)
    for colour in np.unique(packed).tolist():
        index = _PALETTE.get(int(colour))
        if index is None:
            raise DataError(f"{file}: its colours are not those of DAVIS's palette")
        ids[packed == colour] = index
    return ids


def _palette() -> dict[int, int]:
    """Ids by colour: PASCAL VOC's colour map (bits of the id, highest first, spread over red, green, blue), and how
    DAVIS's own tools write it, with 191 for 192, and greys from id 22 on.
    """
    colours: dict[tuple[int, ...], int] = {}
    for index in range(256):
        rgb, rest = [0, 0, 0], index
        for shift in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << shift
            rest >>= 3
        colours[tuple(rgb)] = index
    for rgb_, index in list(colours.items()):
        if index < FIRST_GREY:
            colours.setdefault(tuple(191 if value == 192 else value for value in rgb_), index)
    for index in range(FIRST_GREY, 256):
        colours.setdefault((index, index, index), index)
    return {blue + 256 * green + 65536 * red: index for (red, green, blue), index in colours.items()}


_PALETTE = _palette()
