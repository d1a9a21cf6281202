"""Cuts and frozen pictures are told from motion, noise and light; and what a break does to identities."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from stream.engine import TrackerEngine
from stream.picture_watch import PictureWatch
from stream.types import DAMAGED, Frame, Policy
from stream.window import RollingWindows
from syncvis_online.config import TrackerConfig
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.online import OnlineTracker
from syncvis_online.types import Image
from tests.syncvis_online.models import pictures, tiny_checkpoint


def frame(seq: int, image: Image, at_s: float | None = None) -> Frame:
    return Frame("a", seq, seq, Fraction(1, 10), seq / 10 if at_s is None else at_s, image)


def film(seed: int, frames: int) -> list[Image]:
    world = SyntheticWorld(load_level("medium"), seed)
    return [world.step().image for _ in range(frames)]


def test_scenes_in_motion_are_not_cut_and_a_cut_between_two_is() -> None:
    """Shaking, noisy, under clouds: what the synthetic camera shows; then it shows another place."""
    watch = PictureWatch()
    flags = [watch.look(frame(i, image)) for i, image in enumerate(film(1, 20) + film(2, 20))]
    assert [i for i, flag in enumerate(flags) if flag == "cut"] == [20]
    assert "stale" not in flags


def test_a_damaged_picture_is_no_cut_nor_is_the_whole_one_after_it() -> None:
    white = np.full((72, 128, 3), 255, np.uint8)
    whole, damaged = film(1, 20), replace(frame(20, white), flags=(DAMAGED,))
    watch = PictureWatch()
    frames = [*(frame(i, image) for i, image in enumerate(whole)), damaged, frame(21, whole[-1])]
    assert {watch.look(each) for each in frames} == {None}
    assert watch.look(frame(22, white)) == "cut"


def test_noise_and_a_light_that_changes_are_no_cut() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(60, 160, (72, 128, 3))
    light = 30 * np.sin(np.arange(40) / 3)
    images = [
        np.clip(picture + light[i] + rng.integers(-30, 31, picture.shape), 0, 255).astype(np.uint8)
        for i in range(40)
    ]
    watch = PictureWatch()
    assert {watch.look(frame(i, image)) for i, image in enumerate(images)} == {None}


def test_a_frozen_picture_is_stale_after_its_time_and_no_longer_when_it_moves() -> None:
    watch = PictureWatch(stale_s=0.5)
    moving = film(3, 4)
    still = [moving[-1]] * 9
    images = moving + still + film(3, 6)[4:]
    flags = [watch.look(frame(i, image)) for i, image in enumerate(images)]
    # The first repetition is frame 4: from 0.5 s after it on.
    assert [i for i, flag in enumerate(flags) if flag == "stale"] == [9, 10, 11, 12]
    assert flags[13:] == [None, None]


def test_breaks_of_the_stream_and_other_sizes_start_anew() -> None:
    watch = PictureWatch()
    a, b = film(1, 1)[0], film(2, 1)[0]
    assert watch.look(frame(0, a)) is None
    assert watch.look(replace(frame(1, b), discontinuity=True)) is None
    assert watch.look(frame(2, a[:100])) is None
    assert watch.look(frame(3, np.zeros((1, 1, 3), np.uint8))) is None


@pytest.mark.parametrize("limits", [{"cut_difference": 0.0}, {"stale_s": -1.0}])
def test_limits_that_cannot_be_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        PictureWatch(**limits)


@pytest.mark.parametrize(("policy", "same"), [("keep", True), ("age", False), ("reset", False)])
def test_what_a_gap_does_to_identities(policy: Policy, same: bool) -> None:
    """Five seconds of nothing, then the same picture: kept identities go on, the others were retired or are new."""
    config = TrackerConfig(
        window_frames=2, birth_score=0.05, keep_score=0.04, duplicate_iou=0.9, min_area=1, max_lost_s=1.0
    )
    engine = TrackerEngine(OnlineTracker(tiny_checkpoint(config)))
    windows = RollingWindows(2, 1, max_gap_s=1.0, policies={"gap": policy})
    image = pictures(1)[0]
    answered = []
    for seq, at_s in enumerate((0.0, 0.1, 0.2, 5.2, 5.3)):
        window = windows.push(frame(seq, image, at_s))
        assert window is not None
        answered += engine.process(window).frames
    assert [f.flags for f in answered] == [(), (), (), ("gap",), ()]
    before, after = ({t.track_id for t in answered[i].tracks} for i in (2, 3))
    assert before
    assert after
    assert bool(before & after) == same
    if same:
        ages = {t.track_id: t.age_s for t in answered[3].tracks}
        assert all(ages[i] <= 0.3 for i in before & after), "no time has passed"
    else:
        assert min(after) > max(before)
