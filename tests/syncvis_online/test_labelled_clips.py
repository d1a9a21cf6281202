"""Labelled videos on disk as training clips: every mask on its own frame, and clear words for what is broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from syncvis_online.data.clips import MIN_VISIBLE_PX
from syncvis_online.data.davis import read_davis
from syncvis_online.data.labelled_clips import LabelledClips
from syncvis_online.data.synthetic import SyntheticWorld, load_level, write_youtube_vis
from syncvis_online.data.youtube_vis import read_youtube_vis
from syncvis_online.errors import DataError
from syncvis_online.types import LABELS
from tests.syncvis_online.davis_data import write_davis


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of the synthetic world, seven frames each, as YouTube-VIS."""
    root = tmp_path_factory.mktemp("ytvis")
    level = load_level("easy")
    write_youtube_vis(root / "annotations.json", level, range(2), 7, images=root / "JPEGImages")
    return root


def test_a_clip_shows_what_the_world_showed(folder: Path) -> None:
    clips = LabelledClips(read_youtube_vis(folder / "annotations.json"), LABELS, "it")
    assert len(clips) == 2
    worlds = []
    for seed in range(2):
        world = SyntheticWorld(load_level("easy"), seed)
        worlds.append([world.step() for _ in range(7)])
    rng = np.random.default_rng(0)
    for _ in range(4):
        clip = clips.clip(rng, 3, 2)
        choices = [
            w[start : start + 5 : 2][::order] for w in worlds for start in range(3) for order in (1, -1)
        ]
        apart = [
            sum(np.abs(f.image.astype(int) - image).mean() for f, image in zip(c, clip.images, strict=True))
            for c in choices
        ]
        for t, frame in enumerate(choices[int(np.argmin(apart))]):
            truth = sorted(int(o.mask.sum()) for o in frame.objects if o.mask.sum() >= MIN_VISIBLE_PX)
            assert sorted(int(n) for n in clip.masks[:, t].sum((1, 2)) if n) == truth


def test_classes_that_are_not_wanted_are_ignored(folder: Path) -> None:
    videos = read_youtube_vis(folder / "annotations.json")
    clip = LabelledClips(videos, ("person",), "it").clip(np.random.default_rng(1), 2, 1)
    assert set(clip.labels.tolist()) <= {0}
    others = {t.label for v in videos for t in v.ground_truth} - {"person"}
    assert not others or clip.ignore.any() or len(videos) > 1
    with pytest.raises(DataError, match="it: no video in it shows an object of the model's classes"):
        LabelledClips(videos, ("zebra",), "it")


def test_a_video_that_is_too_short_stands_still_at_its_end(folder: Path) -> None:
    clip = LabelledClips(read_youtube_vis(folder / "annotations.json"), LABELS, "it").clip(
        np.random.default_rng(0), 9, 3
    )
    assert clip.images.shape[0] == 9


def test_davis_folders(tmp_path: Path) -> None:
    root = write_davis(tmp_path)
    videos = read_davis(root, label="thing")
    assert [video.name for video in videos] == ["bear", "cow"]
    assert [tube.track_id for tube in videos[0].ground_truth] == [1, 3]
    first, late = videos[0].ground_truth
    assert all(mask is not None for mask in first.masks)
    assert [mask is not None for mask in late.masks] == [False, False, True]
    clip = LabelledClips(videos, ("thing",), "it").clip(np.random.default_rng(0), 3, 1)
    assert sorted(clip.masks.sum((1, 2, 3)).tolist()) == [50, 300]
    (root / "train.txt").write_text("cow\n")
    assert [video.name for video in read_davis(root, root / "train.txt")] == ["cow"]


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda r: (r / "Annotations/480p/cow/00001.png").unlink(), "00001.png: no such picture"),
        (
            lambda r: (r / "Annotations/480p/cow/00001.png").write_bytes(b"x"),
            "00001.png: no such picture, or a damaged",
        ),
        (
            lambda r: cv2.imwrite(str(r / "Annotations/480p/cow/00001.png"), np.zeros((9, 9, 3), np.uint8)),
            r"00001.png: is \(9, 9\), the frames before are \(30, 40\)",
        ),
        (
            lambda r: cv2.imwrite(
                str(r / "Annotations/480p/cow/00001.png"), np.full((30, 40, 3), 7, np.uint8)
            ),
            "colours are not those of DAVIS's palette",
        ),
        (lambda r: (r / "train.txt").write_text("horse"), "train.txt: names 'horse'"),
    ],
)
def test_broken_davis_folders_are_named(tmp_path: Path, breaks, message: str) -> None:  # type: ignore[no-untyped-def]
    root = write_davis(tmp_path)
    (root / "train.txt").write_text("bear cow")
    breaks(root)
    with pytest.raises(DataError, match=message):
        read_davis(root, root / "train.txt")


def test_davis_writes_some_colours_of_its_palette_in_its_own_way(tmp_path: Path) -> None:
    """191 for 192, and greys from id 22 on."""
    write_davis(tmp_path)
    file = tmp_path / "Annotations" / "480p" / "bear" / "00000.png"
    rgb = np.zeros((30, 40, 3), dtype=np.uint8)
    rgb[:5], rgb[5:10], rgb[10:15] = (191, 0, 0), (0, 191, 0), (22, 22, 22)
    cv2.imwrite(str(file), rgb[..., ::-1])
    bear = next(video for video in read_davis(tmp_path) if video.name == "bear")
    assert {9, 18, 22} <= {tube.track_id for tube in bear.ground_truth}


def test_a_picture_of_a_video_that_is_cut_off_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cut")
    picture = sorted((tmp_path / "cut" / "JPEGImages").rglob("*.jpg"))[3]
    picture.write_bytes(picture.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"video 0: the picture is cut off: .*{picture.name}"):
        read_youtube_vis(tmp_path / "cut" / "annotations.json")
