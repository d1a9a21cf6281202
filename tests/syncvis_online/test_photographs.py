"""Photographs: the split keeps scenes apart, labels are mapped, and damage is named before work starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncvis_online.data.photographs import Photograph, PhotographSet, load_scenes, split_names
from syncvis_online.data.photographs_scenes import (
    MIN_LANDMARKS,
    common_landmarks,
    describe_background,
    group_scenes,
)
from syncvis_online.errors import ConfigError, DataError
from syncvis_online.types import LABELS
from tests.syncvis_online.photograph_data import HEIGHT, WIDTH, save, write_photographs

NAMES = [f"coco_{i:03d}.png" for i in range(11)]


def test_every_fifth_file_by_name_is_held_out(tmp_path: Path) -> None:
    write_photographs(tmp_path, NAMES[::-1])
    assert PhotographSet(tmp_path, "heldout").names == (NAMES[0], NAMES[5], NAMES[10])
    assert len(PhotographSet(tmp_path, "train")) == 8
    assert PhotographSet(tmp_path, "all").names == tuple(NAMES)


@given(st.integers(1, 60), st.lists(st.lists(st.integers(0, 59), max_size=6), max_size=8))
def test_no_scene_is_on_both_sides(count: int, groups: list[list[int]]) -> None:
    names = [f"{i:02d}" for i in range(count)]
    scenes = [[f"{i:02d}" for i in group] for group in groups]
    train, heldout = split_names(names, "train", scenes), split_names(names, "heldout", scenes)
    assert heldout == set(names[::5])
    assert not train & heldout
    for scene in scenes:
        assert not (train & set(scene) and heldout & set(scene))


def test_the_scenes_that_ship_are_disjoint_groups_of_penn_fudan() -> None:
    scenes = load_scenes()
    listed = [name for scene in scenes for name in scene]
    assert scenes
    assert len(listed) == len(set(listed))
    assert all(len(scene) > 1 for scene in scenes)
    assert all(name.startswith("pennfudan_") for name in listed)


def test_classes_are_mapped_and_others_ignored(tmp_path: Path) -> None:
    document = write_photographs(tmp_path, NAMES[:1])
    document["annotations"][1]["iscrowd"] = 1
    save(tmp_path, document)
    (photograph,) = PhotographSet(tmp_path, "all")
    assert photograph.image.shape == (HEIGHT, WIDTH, 3)
    assert photograph.labels.tolist() == [LABELS.index("person")]
    assert photograph.masks[0].sum() == 70 * 40
    assert photograph.ignore.sum() == 40 * 60 + 15 * 160
    written = cv2.imread(str(tmp_path / "images" / NAMES[0]))
    assert np.array_equal(photograph.image, written[..., ::-1])


def test_penn_fudan_claims_only_people_to_be_complete(tmp_path: Path) -> None:
    document = write_photographs(tmp_path, ["coco_1.png", "coco_2.png", "pennfudan_1.png"])
    for image in document["images"][1:]:
        image["only_person_car_labelled"] = True
    save(tmp_path, document)
    complete, partly, penn = (photograph.labelled for photograph in PhotographSet(tmp_path, "all"))
    assert {LABELS[i] for i in complete} == {"person", "car"}, "of the others the file knows nothing"
    assert {LABELS[i] for i in partly} == {"person", "car"}
    assert {LABELS[i] for i in penn} == {"person"}


def _short_rle(document: dict[str, Any]) -> None:
    document["annotations"][0]["segmentation"]["counts"] = "5"


def _long_rle(document: dict[str, Any]) -> None:
    document["annotations"][0]["segmentation"]["counts"] += "PPPPP1"


def _other_size(document: dict[str, Any]) -> None:
    document["annotations"][0]["segmentation"]["size"] = [WIDTH, HEIGHT]


def _unknown_category(document: dict[str, Any]) -> None:
    document["annotations"][0]["category_id"] = 99


def _unlisted_image(document: dict[str, Any]) -> None:
    document["annotations"][0]["image_id"] = 99


def _missing_file(document: dict[str, Any]) -> None:
    document["images"][0]["file_name"] = "gone.png"


def _no_categories(document: dict[str, Any]) -> None:
    del document["categories"]


def _no_images(document: dict[str, Any]) -> None:
    document["images"] = document["annotations"] = []


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_no_images, "lists no image"),
        (_short_rle, "annotation 1: bad RLE: runs cover 5 pixels"),
        (_long_rle, "bad RLE"),
        (_other_size, "RLE size"),
        (_unknown_category, "unknown category_id 99"),
        (_unlisted_image, "not listed"),
        (_missing_file, "gone.png"),
        (_no_categories, "has no 'categories'"),
    ],
)
def test_damage_is_named_when_the_set_is_opened(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], named: str
) -> None:
    document = write_photographs(tmp_path, NAMES[:1])
    damage(document)
    save(tmp_path, document)
    with pytest.raises(DataError, match=named):
        PhotographSet(tmp_path, "all")


def test_a_missing_set_a_bad_picture_and_an_unknown_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances\.json: no such file"):
        PhotographSet(tmp_path, "all")
    write_photographs(tmp_path, NAMES[:1])
    (tmp_path / "images" / NAMES[0]).write_bytes(b"no picture, but it ends like one: IEND")
    with pytest.raises(DataError, match="not a picture"):
        PhotographSet(tmp_path, "all")[0]
    with pytest.raises(ConfigError, match="unknown split 'test'"):
        PhotographSet(tmp_path, "test")  # type: ignore[arg-type]


def _scene(seed: int, shift: int, name: str) -> Photograph:
    rng = np.random.default_rng(seed)
    texture = cv2.resize(
        rng.integers(0, 256 // seed, (40, 60, 3), dtype=np.uint8), (480, 320), interpolation=cv2.INTER_CUBIC
    )
    image = np.ascontiguousarray(texture[:240, shift : shift + 320])
    person = np.zeros((1, 240, 320), dtype=np.bool_)
    person[0, 60:200, 140:200] = True
    image[person[0]] = rng.integers(0, 256, 3)
    return Photograph(name, "pennfudan", image, np.zeros(1, np.int64), person, np.zeros((240, 320), np.bool_))


def test_two_views_of_a_place_are_one_scene_and_another_place_is_not() -> None:
    here, moved, elsewhere = _scene(1, 0, "a"), _scene(1, 70, "b"), _scene(2, 0, "c")
    described = [describe_background(photograph) for photograph in (here, moved, elsewhere)]
    assert common_landmarks(described[0], described[1]) >= 2 * MIN_LANDMARKS
    assert common_landmarks(described[0], described[2]) < MIN_LANDMARKS
    assert group_scenes([here, elsewhere, moved]) == [["a", "b"]]


def test_names_of_other_vocabularies_are_mapped(tmp_path: Path) -> None:
    write_photographs(tmp_path, ["coco_a.jpg", "coco_b.jpg"])
    labels = ("giraffe", "Person", "sedan")
    photographs = PhotographSet(tmp_path, "all", labels=labels, classes={"person": "Person", "car": "sedan"})
    assert [photographs[0].labels.tolist(), len(photographs)] == [[1, 2], 2]
    assert photographs[0].labelled == {1, 2}, "of giraffes nothing is known: the file has no such class"
    assert photographs[0].ignore.any(), "the elephant"


def test_a_set_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    write_photographs(tmp_path, ["coco_a.jpg", "coco_b.jpg"])
    with pytest.raises(
        DataError, match=r"instances\.json: no photograph of 'all' shows a class that is wanted"
    ):
        PhotographSet(tmp_path, "all", labels=("Person",))


def test_photographs_without_a_wanted_class_are_left_out_of_all(tmp_path: Path) -> None:
    document = write_photographs(tmp_path, ["coco_a.jpg", "coco_b.jpg"])
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] == 2]
    save(tmp_path, document)
    assert PhotographSet(tmp_path, "all").names == ("coco_b.jpg",)


@pytest.mark.parametrize("keep", [0, 200])
def test_a_picture_that_is_cut_off_is_named_before_anything_starts(tmp_path: Path, keep: int) -> None:
    write_photographs(tmp_path, ["coco_a.jpg", "coco_b.jpg"])
    path = tmp_path / "images" / "coco_b.jpg"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"image 1: the picture is cut off: .*coco_b\.jpg"):
        PhotographSet(tmp_path, "all")
