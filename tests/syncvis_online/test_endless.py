"""The endless camera in short: what the benchmark claims to notice, it notices."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from benchmarks.endless import Ids, Stream, endless, there_and_back
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.online import load_tracker
from syncvis_online.types import Track


def track(track_id: int) -> Track:
    return Track(track_id, "person", 0.9, {"size": [2, 2], "counts": "4"}, (0.0, 0.0, 1.0, 1.0))


def test_ids_that_come_twice_are_noticed() -> None:
    ids = Ids(max_away=0.5)
    ids.check((track(1), track(3)), 0.0)
    ids.check((track(3), track(4)), 0.4)
    ids.check((track(2),), 0.5)  # it was given when 1 and 3 were, and is told late
    with pytest.raises(ValueError, match=r"0\.7 s: id 1 is back after 0\.7 s"):
        ids.check((track(1),), 0.7)
    ids.check((track(7),), 1.0)
    with pytest.raises(ValueError, match=r"1\.1 s: id 4 is back"):
        ids.check((track(4),), 1.1)
    with pytest.raises(ValueError, match=r"1\.6 s: id 6 is new, and not above 7"):
        ids.check((track(6),), 1.6)
    ids.check((track(8),), 200.0)
    with pytest.raises(ValueError, match="id 3 is new"):
        ids.check((track(3),), 200.1)


def test_the_bank_is_played_forward_and_backward() -> None:
    assert list(islice(there_and_back(4), 14)) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]


def test_a_short_run_says_what_passed() -> None:
    tracker = load_tracker("default", device="cpu")
    told: list[list[dict[str, Any]]] = []
    endless(tracker, 21, told.append)
    ((row,),) = told
    assert row["frames"] == 21
    assert row["objects"] >= 20
    assert row["ids"] >= 3
    assert row["rss_mib"] > 0
    assert row["ms_per_window"] > 0
    assert row["ms_again"] > 0
    assert row["ratio"] == pytest.approx(row["ms_per_window"] / row["ms_again"], rel=1e-3)


def test_a_stream_is_what_the_tracker_says_of_a_video() -> None:
    tracker = load_tracker("default", device="cpu")
    (video,) = open_videos("synthetic:easy?seeds=5&frames=6")
    images = list(video.frames())
    stream, silent = (Stream(tracker, video.fps, video.size) for _ in range(2))
    features = [tracker.encode(tracker.prepare(image)) for image in images]
    answered = [tracks for each in features for tracks in stream.push(each)]
    wanted = list(tracker.track_video(images, video.fps))
    assert answered == [frame.tracks for frame in wanted]
    for each in features:
        silent.pass_by(each)
    told, untold = stream.state, silent.state
    assert (untold.now_s, untold.next_id, untold.out_of_slots) == (
        told.now_s,
        told.next_id,
        told.out_of_slots,
    )
    one, other = ({name: x.numpy().tobytes() for name, x in s._tensors().items()} for s in (told, untold))
    assert [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)] == []


def test_a_video_that_goes_on_from_a_state_goes_on_with_its_ids() -> None:
    tracker = load_tracker("default", device="cpu")
    (video,) = open_videos("synthetic:easy?seeds=5&frames=8")
    images = list(video.frames())
    first = Stream(tracker, video.fps, video.size)
    for image in images[:4]:
        first.push(tracker.encode(tracker.prepare(image)))
    kept = tracker.after_break(first.state, "keep", -1 / video.fps)
    fresh = replace(tracker.initial_state(), next_id=first.state.next_id)
    before = set(first.state.track_ids[first.state.confirmed].tolist())
    goes_on, anew = (
        {
            t.track_id
            for frame in tracker.track_video(images[4:], video.fps, state=state)
            for t in frame.tracks
        }
        for state in (kept, fresh)
    )
    assert before & goes_on
    assert not before & anew
