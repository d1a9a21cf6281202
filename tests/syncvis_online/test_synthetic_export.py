"""The JSON of YouTube-VIS read back gives the ground truth that was rendered."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from syncvis_online.data.synthetic import load_level, render_video, write_youtube_vis
from syncvis_online.types import LABELS

SIZE = (72, 128)
SEEDS = (11, 12)
FRAMES = 6


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_round_trip(tmp_path: Path, extension: str) -> None:
    level = load_level("medium")
    path = tmp_path / "deep" / "truth.json"
    write_youtube_vis(path, level, SEEDS, FRAMES, images=tmp_path, extension=extension, size=SIZE)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [(c["id"], c["name"]) for c in content["categories"]] == list(enumerate(LABELS, start=1))
    assert [p.name for p in path.parent.iterdir()] == ["truth.json"]  # no draft left behind
    annotations = {(a["video_id"], a["id"]): a for a in content["annotations"]}
    assert len(annotations) == len(content["annotations"]) == len({a["id"] for a in content["annotations"]})
    for video, seed in zip(content["videos"], SEEDS, strict=True):
        assert (video["height"], video["width"], video["length"]) == (*SIZE, FRAMES)
        tracks = [a for a in content["annotations"] if a["video_id"] == video["id"]]
        for frame in render_video(level, seed, FRAMES, size=SIZE):
            stored = cv2.imread(str(tmp_path / video["file_names"][frame.index]), cv2.IMREAD_COLOR)
            difference = np.abs(stored[..., ::-1].astype(int) - frame.image)
            assert difference.mean() < (0.5 if extension == "png" else 12)
            shown = [t for t in tracks if t["segmentations"][frame.index] is not None]
            found = {decoded(t, frame.index).tobytes(): t for t in shown}
            assert set(found) == {o.mask.tobytes() for o in frame.objects}
            for item in frame.objects:
                track = found[item.mask.tobytes()]
                assert LABELS[track["category_id"] - 1] == item.label
                assert track["areas"][frame.index] == np.count_nonzero(item.mask)
                x, y, w, h = (int(v) for v in track["bboxes"][frame.index])
                assert item.mask[y : y + h, x : x + w].sum() == item.mask.sum()
                edges = (item.mask[y], item.mask[y + h - 1], item.mask[:, x], item.mask[:, x + w - 1])
                assert all(edge.any() for edge in edges)


def decoded(track: dict[str, object], index: int) -> np.ndarray:
    segmentations = track["segmentations"]
    assert isinstance(segmentations, list)
    return np.ascontiguousarray(coco_mask.decode(segmentations[index])).astype(bool)


def test_a_track_has_one_entry_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    write_youtube_vis(path, load_level("medium"), [13], FRAMES, size=SIZE)
    for track in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
        for key in ("segmentations", "bboxes", "areas"):
            assert len(track[key]) == FRAMES
        nothing = [s is None for s in track["segmentations"]]
        assert nothing == [b is None for b in track["bboxes"]] == [a is None for a in track["areas"]]
        assert not all(nothing)


def test_a_failed_write_keeps_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "truth.json"
    path.write_text("old", encoding="utf-8")

    def full_disk(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_youtube_vis(path, load_level("medium"), [13], 1, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["truth.json"]
    assert path.read_text(encoding="utf-8") == "old"
