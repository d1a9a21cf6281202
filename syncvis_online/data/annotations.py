"""Checked reading of COCO-family JSON: the file itself, its keys, and its masks.

Owns the rule that an annotation is believed only after it was checked, because pycocotools does not check run
lengths and reads or writes outside its buffer when they are wrong. Knows no data set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from pycocotools import mask as coco_mask

from syncvis_online.errors import DataError
from syncvis_online.types import RLE


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises DataError naming the file when there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: holds a {type(document).__name__}, not a JSON object")
    return document


def require(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`entry[key]` if it is there and of `kind` (a bool is never a number); else DataError naming `where`."""
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"{where}: has no '{key}'")
    value = entry[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise DataError(f"{where}: '{key}' is {value!r:.60}, of the wrong type")
    return value


def check_picture(file: Path, where: str) -> None:
    """Raise DataError, naming `where` and the file, for a picture that is not there, or a JPEG or PNG that was cut off.

    Only its end is read: a data set of a hundred thousand is checked in seconds, before anything starts.
    """
    mark = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}.get(file.suffix.lower())
    try:
        with file.open("rb") as content:
            content.seek(0, 2)
            size = content.tell()
            content.seek(max(0, size - 4096))
            tail = content.read()
    except FileNotFoundError:
        raise DataError(f"{where}: no such file: {file}") from None
    except OSError as error:
        raise DataError(f"{where}: {file}: {error.strerror}") from None
    if not size or (mark is not None and mark not in tail):
        raise DataError(f"{where}: the picture is cut off: {file}")


def checked_rle(segmentation: Any, height: int, width: int, where: str) -> RLE:
    """A COCO segmentation (compressed RLE, uncompressed RLE or polygons) of a picture as compressed RLE.

    Raises DataError starting with `where` when the size is another one, the runs do not add up to
    height * width, or the form is none of the three.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width, where)
    size = require(segmentation, "size", list, where)
    if size != [height, width]:
        raise DataError(f"{where}: RLE size {size} is not the picture's [{height}, {width}]")
    counts = require(segmentation, "counts", (str, list), where)
    runs = counts if isinstance(counts, list) else _run_lengths(counts, where)
    if any(not isinstance(run, int) or run < 0 for run in runs):
        raise DataError(f"{where}: bad RLE: a run is negative or no integer")
    if sum(runs) != height * width:
        raise DataError(f"{where}: bad RLE: runs cover {sum(runs)} pixels of {height * width}")
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts}
    packed = coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def _from_polygons(polygons: list[Any], height: int, width: int, where: str) -> RLE:
    numeric = all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(isinstance(v, int | float) for v in polygon)
        for polygon in polygons
    )
    if not polygons or not numeric:
        raise DataError(f"{where}: polygons must be non-empty lists of at least 3 x, y pairs")
    for polygon in polygons:
        x, y = polygon[0::2], polygon[1::2]
        # COCO's own polygons run over the edge by a rounding error, never by more than a pixel.
        if min(x) < -1 or min(y) < -1 or max(x) > width + 1 or max(y) > height + 1:
            raise DataError(f"{where}: a polygon lies outside of the picture of {width} x {height}")
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return {"size": [height, width], "counts": cast(bytes, merged["counts"]).decode("ascii")}


def _run_lengths(counts: str, where: str) -> list[int]:
    """Decode COCO's compressed counts: 5 bits a character, low first, runs from the fourth as differences."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"{where}: bad RLE: character {character!r}")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise DataError(f"{where}: bad RLE: ends in the middle of a run")
    return runs
