"""What `track --out x.json` writes is YouTube-VIS: the project's own reader finds every mask where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from stream.cli import build_parser
from stream.commands.outputs import close_outputs, open_outputs
from stream.types import TrackedFrame
from syncvis_online.data.youtube_vis import read_youtube_vis
from syncvis_online.types import decode_mask
from tests.stream.viewer_frames import make_picture


def write(target: Path, frames: list[TrackedFrame]) -> dict[str, object]:
    """The file, and beside it the pictures that its names are of."""
    outputs = open_outputs(target, None)
    for frame in frames:
        outputs[0].write(frame)
    close_outputs(outputs, keep=True)
    document: dict[str, object] = json.loads(target.read_text())
    names = [name for video in document["videos"] for name in video["file_names"]]  # type: ignore[attr-defined]
    for name, frame in zip(names, frames, strict=True):
        (target.parent / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(target.parent / name), frame.image)
    return document


def frames_of_a_life() -> list[TrackedFrame]:
    """The first track is seen on frames 0, 1, 3, lost on 2; the second on 1 to 3, as a car once."""
    frames = [make_picture(seq, "source") for seq in range(4)]
    (one, two), lost = frames[0].tracks, replace(frames[2].tracks[0], state="lost")
    frames[0] = replace(frames[0], tracks=(one,))
    frames[1] = replace(frames[1], tracks=(frames[1].tracks[0], replace(two, label="car", score=0.25)))
    frames[2] = replace(frames[2], tracks=(lost, frames[2].tracks[1]))
    return frames


def test_the_reader_finds_every_track_where_it_was(tmp_path: Path) -> None:
    frames = frames_of_a_life()
    write(tmp_path / "x.json", frames)
    (video,) = read_youtube_vis(tmp_path / "x.json")
    assert (video.name, video.size, len(video.files)) == ("source", frames[0].image.shape[:2], 4)
    assert video.fps is not None
    assert abs(video.fps - 25) < 0.01
    assert {tube.track_id: tube.label for tube in video.ground_truth} == {1: "dog", 2: "dog"}
    for tube in video.ground_truth:
        for frame, mask in zip(frames, tube.masks, strict=True):
            said = [track for track in frame.tracks if track.track_id == tube.track_id and track.seen]
            assert (mask is not None) == bool(said)
            if mask is not None:
                assert np.array_equal(decode_mask(mask), decode_mask(said[0].mask))


def test_scores_boxes_and_areas_are_those_of_the_masks(tmp_path: Path) -> None:
    document = write(tmp_path / "x.json", frames_of_a_life())
    one, two = document["annotations"]  # type: ignore[misc]
    assert one["areas"][2] is one["bboxes"][2] is one["segmentations"][2] is None
    assert one["areas"][0] == decode_mask(one["segmentations"][0]).sum()
    assert one["score"] == 0.75
    assert two["score"] == (0.25 + 0.75 + 0.75) / 3


def test_another_picture_size_begins_another_video(tmp_path: Path) -> None:
    frames = [
        make_picture(0, "source"),
        make_picture(1, "source", (96, 320)),
        make_picture(2, "source", (96, 320)),
    ]
    document = write(tmp_path / "x.json", frames)
    first, second = read_youtube_vis(tmp_path / "x.json")
    assert (first.size, second.size) == ((192, 320), (96, 320))
    assert (len(first.files), len(second.files)) == (1, 2)
    entries = document["annotations"]
    assert len({entry["id"] for entry in entries}) == len(entries) == 4  # type: ignore[attr-defined,arg-type]
    assert [entry["track_id"] for entry in entries] == [1, 2, 1, 2]  # type: ignore[attr-defined]


def test_nothing_is_left_of_what_is_not_kept(tmp_path: Path) -> None:
    outputs = open_outputs(tmp_path / "x.json", None)
    outputs[0].write(make_picture(0))
    close_outputs(outputs, keep=False)
    assert list(tmp_path.iterdir()) == []


def test_out_is_output() -> None:
    parsed = build_parser().parse_args(["track", "synthetic:1", "--out", "x.json"])
    assert parsed.output == Path("x.json")
