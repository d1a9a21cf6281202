"""Levels: strictly read from YAML, and medium is as hard as it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from syncvis_online.data.synthetic import SyntheticFrame, load_level, render_video
from syncvis_online.errors import ConfigError
from syncvis_online.paths import find_config
from syncvis_online.types import LABELS

SEEDS = (9000, 9001, 9003, 9004)
FRAMES = 80


@pytest.fixture(scope="module")
def clips() -> list[list[SyntheticFrame]]:
    medium = load_level("medium")
    return [list(render_video(medium, seed, FRAMES, size=(180, 320))) for seed in SEEDS]


def test_medium_is_what_the_project_reports_on() -> None:
    medium = load_level("medium")
    assert (medium.fps, medium.size, medium.objects) == (10.0, (360, 640), (4, 10))
    assert medium.height_fraction == (0.03, 0.40)


def test_medium_shows_four_to_ten_objects_on_every_frame(clips: list[list[SyntheticFrame]]) -> None:
    counts = [len(frame.objects) for clip in clips for frame in clip]
    assert min(counts) >= 4
    assert max(counts) <= 10


def test_medium_heights_are_3_to_40_percent_and_mostly_above_10(clips: list[list[SyntheticFrame]]) -> None:
    heights = np.asarray([o.height_fraction for clip in clips for frame in clip for o in frame.objects])
    assert heights.min() >= 0.03
    assert heights.max() <= 0.40
    assert np.mean(heights >= 0.10) > 0.6
    assert np.mean(heights < 0.10) > 0.05


def test_medium_hides_three_tracks_in_ten_by_more_than_half(clips: list[list[SyntheticFrame]]) -> None:
    most: dict[tuple[int, int], float] = {}
    for k, clip in enumerate(clips):
        for frame in clip:
            for item in frame.objects:
                key = (k, item.track_id)
                most[key] = max(most.get(key, 0.0), item.occluded_fraction)
    assert np.mean([share > 0.5 for share in most.values()]) >= 0.30


def test_medium_has_lookalikes_of_one_class_at_once(clips: list[list[SyntheticFrame]]) -> None:
    for clip in clips:
        alike = 0
        for frame in clip:
            label_of = {o.appearance: o.label for o in frame.objects}
            assert all(label_of[o.appearance] == o.label for o in frame.objects)
            alike += max(Counter(o.appearance for o in frame.objects).values()) >= 2
        assert alike >= FRAMES // 8


def test_medium_shows_every_class(clips: list[list[SyntheticFrame]]) -> None:
    assert {o.label for clip in clips for frame in clip for o in frame.objects} == set(LABELS)


def test_every_level_that_ships_loads_and_renders() -> None:
    for path in find_config("synthetic", "medium").parent.glob("*.yaml"):
        level = load_level(path.stem)
        frames = list(render_video(level, 1, 3, size=(72, 128)))
        assert all(level.objects[0] <= len(f.objects) <= level.objects[1] for f in frames)


def write_level(folder: Path, **changes: object) -> str:
    raw = yaml.safe_load(find_config("synthetic", "medium").read_text(encoding="utf-8"))
    raw.update(changes)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in raw.items() if v is not None}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"wind_mps": 3}, "unknown key 'wind_mps'"),
        ({"class_weights": {"person": 1, "horse": 1}}, "class_weights.horse"),
        ({"class_weights": [1, 2]}, "class_weights"),
        ({"fps": None}, "'fps' is missing"),
        ({"fps": "fast"}, "'fps'"),
        ({"fps": True}, "'fps'"),
        ({"fps": 0}, "fps is out of range"),
        ({"size": [360]}, "'size'"),
        ({"objects": [4.5, 10]}, "'objects'"),
        ({"objects": [9, 10]}, "objects is out of range"),
        ({"height_fraction": [0.4, 0.03]}, "height_fraction is out of range"),
        ({"lookalike_probability": 1.5}, "lookalike_probability is out of range"),
    ],
)
def test_a_wrong_level_is_refused_naming_file_and_key(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    path = write_level(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_level(path)
    message = str(caught.value)
    assert "mine.yaml" in message
    assert named in message
    assert "\n" not in message


def test_a_level_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    level = load_level(write_level(tmp_path, noise_sigma=9))
    assert (level.name, level.noise_sigma) == ("mine", 9.0)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "fps: [1\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_level(str(path))


def test_an_unknown_level_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="medium"):
        load_level("impossible")
