"""The YouTube-VIS reader: what is written is read back, and damage is named before work starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from syncvis_online.data.youtube_vis import read_youtube_vis
from syncvis_online.errors import DataError
from syncvis_online.types import encode_mask

HEIGHT, WIDTH = 24, 32
Damage = Callable[[dict[str, Any]], object]


def _mask() -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[4:12, 6:20] = True
    return mask


def _document() -> dict[str, Any]:
    runs = [6 * HEIGHT + 4, *([8, HEIGHT - 8] * 13), 8]
    runs.append(HEIGHT * WIDTH - sum(runs))
    video = {"id": 5, "height": HEIGHT, "width": WIDTH, "length": 3}
    tube = {"id": 8, "video_id": 5, "category_id": 2, "iscrowd": 0, "areas": [112, None, 112]}
    segmentations = [encode_mask(_mask()), None, {"size": [HEIGHT, WIDTH], "counts": runs}]
    return {
        "info": {"year": 2019},
        "videos": [video | {"file_names": [f"walk/{t:05d}.png" for t in range(3)]}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [tube | {"segmentations": segmentations}],
    }


def _write(root: Path, document: dict[str, Any], images: str = "") -> Path:
    folder = root / images / "walk"
    folder.mkdir(parents=True)
    for t in range(3):
        picture = np.full((HEIGHT, WIDTH, 3), (10, 100, 200 + t), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{t:05d}.png"), picture[..., ::-1])
    path = root / "instances.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("images", ["", "JPEGImages"])
def test_videos_are_read_back(tmp_path: Path, images: str) -> None:
    (video,) = read_youtube_vis(_write(tmp_path, _document(), images))
    assert (video.name, video.size, video.fps) == ("walk", (HEIGHT, WIDTH), None)
    assert video.labels == {"person", "car"}
    assert [frame[0, 0].tolist() for frame in video.frames()] == [[10, 100, 200 + t] for t in range(3)]
    (tube,) = video.ground_truth
    assert (tube.track_id, tube.label, tube.crowd) == (8, "car", False)
    assert tube.masks == (encode_mask(_mask()), None, encode_mask(_mask()))


def test_polygons_are_read_too(tmp_path: Path) -> None:
    document = _document()
    document["annotations"][0]["segmentations"][0] = [[6, 4, 20, 4, 20, 12, 6, 12]]
    (video,) = read_youtube_vis(_write(tmp_path, document))
    assert video.ground_truth[0].masks[0] == encode_mask(_mask())


def _counts(value: object) -> Damage:
    return lambda d: d["annotations"][0]["segmentations"][0].update(counts=value)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda d: d.pop("videos"), "has no 'videos'"),
        (lambda d: d.update(videos=[]), "lists no video"),
        (lambda d: d["videos"][0].pop("height"), "video 0: has no 'height'"),
        (lambda d: d["videos"][0].update(width="wide"), "'width' is 'wide'"),
        (lambda d: d["videos"][0].update(height=True), "'height' is True"),
        (lambda d: d["videos"][0].update(file_names=[]), "'file_names' must be"),
        (lambda d: d["videos"][0]["file_names"].append("walk/9.png"), "no such file: .*9.png"),
        (lambda d: d["videos"][0].update(fps=0), "'fps' must be positive"),
        (lambda d: d["annotations"][0].update(video_id=6), r"not listed: \[6\]"),
        (lambda d: d["annotations"][0].update(category_id=7), "annotation 8: unknown category_id 7"),
        (lambda d: d["annotations"][0]["segmentations"].pop(), "2 masks for 3 frames"),
        (lambda d: d["annotations"][0]["segmentations"].__setitem__(1, 3), "frame 1: has no 'size'"),
        (lambda d: d["annotations"][0]["segmentations"].__setitem__(0, [[1, 2]]), "frame 0: polygons"),
        (
            lambda d: d["annotations"][0]["segmentations"].__setitem__(0, [[6, 4, 90, 4, 20, 12]]),
            "frame 0: a polygon lies outside of the picture of 32 x 24",
        ),
        (_counts("0~0"), "frame 0: bad RLE: character '~'|frame 0: bad RLE: character"),
        (_counts("P"), "frame 0: bad RLE: ends in the middle"),
        (_counts("12"), "frame 0: bad RLE: runs cover 3 pixels of 768"),
        (_counts([800, -32]), "frame 0: bad RLE: a run is negative"),
        (_counts(None), "'counts' is None"),
    ],
)
def test_damage_is_named_when_the_file_is_opened(tmp_path: Path, damage: Damage, named: str) -> None:
    document = _document()
    damage(document)
    path = _write(tmp_path, document)
    with pytest.raises(DataError, match=named) as caught:
        read_youtube_vis(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("content", "named"), [("{", "cannot be read as JSON"), ("[]", "not a JSON object")])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "broken.json"
    with pytest.raises(DataError, match="no such file"):
        read_youtube_vis(path)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=named):
        read_youtube_vis(path)


def test_a_damaged_or_wrong_picture_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, _document())
    cv2.imwrite(str(tmp_path / "walk" / "00001.png"), np.zeros((HEIGHT, 8, 3), np.uint8))
    (tmp_path / "walk" / "00002.png").write_bytes(b"no picture, but it ends like one: IEND")
    (video,) = read_youtube_vis(path)
    frames = video.frames()
    next(frames)
    with pytest.raises(DataError, match=r"00001\.png: is \(24, 8\)"):
        next(frames)
    (tmp_path / "walk" / "00001.png").write_bytes((tmp_path / "walk" / "00000.png").read_bytes())
    with pytest.raises(DataError, match=r"00002\.png: not a picture"):
        list(video.frames())
