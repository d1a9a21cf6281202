"""From SPEC to figures: what is a valid SPEC, and that known answers get the figures they deserve."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from syncvis_online.checkpoint import save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.data.photographs import PhotographSet
from syncvis_online.data.synthetic import SyntheticWorld, load_level, write_youtube_vis
from syncvis_online.errors import ConfigError, DataError
from syncvis_online.evaluation.photographs import evaluate_photographs, main
from syncvis_online.evaluation.run import evaluate, write_result
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.online import Mode
from syncvis_online.types import (
    LABELS,
    FrameTracks,
    Image,
    Mask,
    Track,
    box_of_mask,
    decode_mask,
    encode_mask,
)
from tests.syncvis_online.models import tiny_model
from tests.syncvis_online.photograph_data import HEIGHT, WIDTH, save, write_photographs

KINDS = ("person", "bicycle", "car", "truck", "dog", "bird")
SPEC = "synthetic:easy?seeds=900-901&frames=4"


def _track(track_id: int, label: str, mask: Mask, score: float = 0.9) -> Track:
    return Track(track_id, label, score, encode_mask(mask), box_of_mask(mask))


class Oracle:
    """Knows the worlds of the seeds, in order, and answers with their ground truth; ids may change midway."""

    labels = LABELS

    def __init__(self, seeds: Iterator[int], *, rename_from: int = 10**9) -> None:
        self._world = SyntheticWorld(load_level("easy"), next(seeds))
        self._rename_from = rename_from

    def track_video(self, frames: Iterable[Image], fps: float, mode: Mode) -> Iterator[FrameTracks]:
        assert fps == load_level("easy").fps
        for t, image in enumerate(frames):
            frame = self._world.step()
            assert np.array_equal(frame.image, image)
            shift = 1000 if t >= self._rename_from else 0
            yield FrameTracks(t, tuple(_track(o.track_id + shift, o.label, o.mask) for o in frame.objects))


class Silent:
    """Sees nothing; leaves the last frames unanswered if told to."""

    def __init__(self, lose: int = 0, labels: tuple[str, ...] = LABELS) -> None:
        self._lose, self.labels = lose, labels

    def track_video(self, frames: Iterable[Image], fps: float, mode: Mode) -> Iterator[FrameTracks]:
        images = list(frames)
        yield from (FrameTracks(t) for t in range(len(images) - self._lose))


def test_the_truth_itself_gets_full_marks() -> None:
    seeds = iter((900, 900, 901))  # the first is only asked for its labels
    result = evaluate(SPEC, lambda: Oracle(seeds))
    assert {result[key] for key in ("AP", "AP50", "AP75", "AR10", "IDF1", "MOTA")} == {1.0}
    assert (result["IDSW"], result["videos"], result["frames"]) == (0, 2, 8)
    assert result["ground_truth_tubes"] == result["predicted_tracks"] > 0
    assert all(figures == {"AP": 1.0, "AP50": 1.0} for figures in result["per_class"].values())
    assert result["seconds"] > 0
    assert result["fps"] > 0


def test_new_ids_midway_cost_identity_and_silence_costs_everything() -> None:
    seeds = iter((900, 900, 901))  # the first is only asked for its labels
    renamed = evaluate(SPEC, lambda: Oracle(seeds, rename_from=2))
    assert renamed["IDSW"] > 0
    assert 0.4 < renamed["IDF1"] < 0.7
    assert renamed["detections"]["FP"] == renamed["detections"]["FN"] == 0
    silent = evaluate(SPEC, Silent)
    assert {silent[key] for key in ("AP", "AP50", "AR1", "IDF1", "IDSW", "predicted_tracks")} == {0}


def test_a_tracker_that_loses_frames_is_not_judged() -> None:
    with pytest.raises(ValueError, match="3 of 4 frames are answered"):
        evaluate("synthetic:easy?seeds=900&frames=4", lambda: Silent(1))


def test_a_world_and_its_youtube_vis_file_hold_the_same_truth(tmp_path: Path) -> None:
    path = tmp_path / "easy.json"
    write_youtube_vis(path, load_level("easy"), [900], 3, images=tmp_path, extension="png")
    (rendered,) = open_videos("synthetic:easy?seeds=900&frames=3")
    (stored,) = open_videos(str(path))
    with pytest.raises(RuntimeError, match="when all frames are rendered"):
        rendered.ground_truth()
    for a, b in zip(rendered.frames(), stored.frames(), strict=True):
        assert np.array_equal(a, b)
    ours = sorted((tube.label, str(tube.masks)) for tube in rendered.ground_truth())
    theirs = sorted((tube.label, str(tube.masks)) for tube in stored.ground_truth())
    assert ours == theirs
    assert ours
    assert (rendered.size, rendered.length, rendered.labels) == (stored.size, stored.length, stored.labels)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("synthetic:easy", "needs seeds"),
        ("synthetic:easy?seeds=5-x", "needs seeds"),
        ("synthetic:easy?seeds=9-5", "seeds=9-5 is an empty range"),
        ("synthetic:easy?seeds=5&frames=0", "frames must be a whole number of at least 1, not '0'"),
        ("synthetic:easy?seeds=5&frames=many", "not 'many'"),
        ("synthetic:easy?seeds=5&size=3", "unknown option 'size'"),
        ("synthetic:easy?seeds=5&split=train", r"unknown option 'split' \(there are: fps, frames, seeds\)"),
        ("synthetic:easy?seeds=5&fps=0", r"fps must be a number in \(0, 240\], not '0'"),
        ("synthetic:easy?seeds=5&fps=fast", "not 'fast'"),
        ("pasted:nowhere?seeds=5&fps=5", "unknown option 'fps'"),
        ("pasted:nowhere?seeds=5&split=all", "split must be heldout or train, not 'all'"),
        ("synthetic:easy?seeds=5&seeds=6", "given twice"),
        ("synthetic:easy?seeds", "not of the form"),
        ("synthetic:nosuchlevel?seeds=5", "nosuchlevel"),
        ("nowhere/videos.json", "no such file"),
    ],
)
def test_a_bad_spec_is_named(spec: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        open_videos(spec)


def test_a_spec_of_a_damaged_file_is_named_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "videos.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"videos\.json: has no"):
        evaluate(str(path), lambda: pytest.fail("a tracker was made"))


def test_classes_that_the_model_does_not_know_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"its classes \(.*person.*\) are none of the model's \(Person\)"):
        evaluate(SPEC, lambda: Silent(labels=("Person",)))
    evaluate(SPEC, lambda: Silent(labels=("person",)))
    assert "the model does not know bicycle, bird, car, dog, truck" in caplog.text


def test_a_result_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "result.json"
    write_result(target, {"AP": 0.5})
    write_result(target, {"AP": 0.25, "per_class": {}})
    assert json.loads(target.read_text(encoding="utf-8")) == {"AP": 0.25, "per_class": {}}
    with pytest.raises(TypeError):
        write_result(target, {"AP": object()})
    assert [path.name for path in target.parent.iterdir()] == ["result.json"]
    assert json.loads(target.read_text(encoding="utf-8"))["AP"] == 0.25


class PhotoOracle:
    """Finds the person of each drawn photograph of `known`, and a false one elsewhere with a higher score."""

    labels = LABELS

    def __init__(self, *, known: set[bytes], false_at: tuple[slice, slice]) -> None:
        self._known, self._false_at = known, false_at

    def track_video(self, frames: Iterable[Image], fps: float, mode: Mode) -> Iterator[FrameTracks]:
        (image,) = frames
        person, false = np.zeros((2, HEIGHT, WIDTH), dtype=np.bool_)
        person[20:90, 20:60] = True
        false[self._false_at] = True
        found = [_track(1, "person", false, 0.95), _track(2, "car", person)]
        if image.tobytes() in self._known:
            found.append(_track(3, LABELS[0], person, 0.5))
        yield FrameTracks(0, tuple(found))


def test_photographs_are_judged_by_source_and_ignored_regions_are_honoured(tmp_path: Path) -> None:
    names = [f"coco_{i:02d}.png" for i in range(10)] + [f"pennfudan_{i:02d}.png" for i in range(10)]
    write_photographs(tmp_path, names)
    heldout = list(PhotographSet(tmp_path, "heldout"))
    known = {photograph.image.tobytes() for photograph in heldout[:3]}
    elephant = (slice(100, 115), slice(0, 160))
    figures = evaluate_photographs(tmp_path, lambda: PhotoOracle(known=known, false_at=elephant))
    assert figures["coco"] == {"AP50": 1.0, "AR50": 1.0, "photographs": 2, "instances": 2, "detections": 4}
    assert figures["pennfudan"]["AR50"] == 0.5
    assert figures["pennfudan"]["AP50"] == pytest.approx(51 / 101)
    assert figures["all"]["photographs"] == 4
    sky = (slice(0, 15), slice(0, 160))
    worse = evaluate_photographs(tmp_path, lambda: PhotoOracle(known=known, false_at=sky))
    assert worse["coco"]["AP50"] == pytest.approx(0.5)
    assert worse["coco"]["AR50"] == 1.0


def test_the_photograph_command_measures_a_checkpoint_and_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photographs(tmp_path, ["coco_0.png", "pennfudan_0.png"])
    save_model(
        tmp_path / "tiny.safetensors", tiny_model(), TrackerConfig(birth_score=0.0, keep_score=0.0), {}
    )
    written = tmp_path / "figures.json"
    model = ["--model", str(tmp_path / "tiny.safetensors")]
    assert main([str(tmp_path), *model, "--split", "all", "--json", str(written)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(written.read_text(encoding="utf-8"))
    assert {source: figures["instances"] for source, figures in printed.items()} == {
        "coco": 1,
        "pennfudan": 1,
        "all": 2,
    }
    assert main([str(tmp_path / "nowhere"), *model]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error:")
    assert "nowhere" in line


def test_pasted_videos_are_the_same_each_time_and_show_what_is_held_out(tmp_path: Path) -> None:
    write_photographs(tmp_path, [f"coco_{i}.png" for i in range(10)])
    document = json.loads((tmp_path / "instances.json").read_text())
    # Elephants are no label, so a picture with one has an ignored region.
    document["annotations"] = [a for a in document["annotations"] if a["category_id"] != 22]
    document["categories"] = [{"id": i, "name": name} for i, name in enumerate(KINDS, start=1)]
    save(tmp_path, document)
    spec = f"pasted:{tmp_path}?seeds=3-4&frames=5"
    one, other = open_videos(spec)
    assert (one.length, one.name, other.name) == (5, "pasted-3", "pasted-4")
    with pytest.raises(RuntimeError, match="pasted-3"):
        one.ground_truth()
    frames = np.stack(list(one.frames()))
    assert frames.shape == (5, *one.size, 3)
    assert np.array_equal(frames, np.stack(list(open_videos(spec)[0].frames())))
    assert not np.array_equal(frames, np.stack(list(other.frames())))
    truth = one.ground_truth()
    assert {tube.label for tube in truth} <= {"person", "car"}
    for t in range(5):
        masks = [decode_mask(tube.masks[t]) for tube in truth if tube.masks[t] is not None]
        assert np.sum(masks, axis=0).max() == 1, "no pixel is of two objects"
    held_out = PhotographSet(tmp_path, "heldout").names
    assert len(held_out) == 2
    assert {each.name for each in one.backgrounds} <= set(held_out)
    assert {cutout.photograph for cutout in one.cutouts.draw(20, np.random.default_rng(0))} <= set(held_out)
    (learned,) = open_videos(f"pasted:{tmp_path}?seeds=3&frames=5&split=train")
    assert learned.name == "pasted-train-3"
    assert not {each.name for each in learned.backgrounds} & set(held_out)
    assert not {cutout.photograph for cutout in learned.cutouts.draw(20, np.random.default_rng(0))} & set(
        held_out
    )


def test_pasted_videos_need_photographs_that_are_annotated_in_full(tmp_path: Path) -> None:
    write_photographs(tmp_path, [f"coco_{i}.png" for i in range(5)])
    with pytest.raises(DataError, match="annotated in full"):
        open_videos(f"pasted:{tmp_path}?seeds=1&frames=2")
    with pytest.raises(DataError, match="missing"):
        open_videos(f"pasted:{tmp_path / 'missing'}?seeds=1")
