"""The window rules, as properties over any stream of frames."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.types import Frame, Window
from stream.window import RollingWindows
from tests.stream.frames import LARGER, PICTURE, make_frame

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure


@st.composite
def streams(draw: st.DrawFn) -> list[Frame]:
    """Frames in order, with all that breaks a stream: gaps, steps back, other sizes, reconnects."""
    frames: list[Frame] = []
    at_s = 1000.0
    for seq in range(draw(st.integers(0, 40))):
        at_s += draw(st.sampled_from([0.04, 0.04, 0.04, 0.0, 0.9, 1.5, -0.2]))
        image = LARGER if draw(st.integers(0, 9)) == 0 else PICTURE
        cut = draw(st.integers(0, 9)) == 0
        frames.append(make_frame(seq, at_s=at_s, image=image, discontinuity=cut))
    return frames


settings = st.integers(1, 6).flatmap(lambda ts: st.tuples(st.just(ts), st.integers(1, ts)))


def run(frames: list[Frame], window_frames: int, stride: int) -> list[Window]:
    windows = RollingWindows(window_frames, stride, max_gap_s=1.0)
    made = [windows.push(frame) for frame in frames] + [windows.flush()]
    return [window for window in made if window is not None]


def breaks(before: Frame, after: Frame) -> bool:
    """Whether a window may not hold both (written apart from the code under test)."""
    gap = after.captured_at_s - before.captured_at_s
    return after.discontinuity or before.image.shape != after.image.shape or not 0 <= gap <= 1.0


@no_deadline
@given(streams(), settings)
def test_every_frame_is_answered_once_in_order(frames: list[Frame], sizes: tuple[int, int]) -> None:
    windows = run(frames, *sizes)
    answered = [frame.seq for window in windows for frame in window.frames[-window.answers :]]
    assert answered == [frame.seq for frame in frames]


@no_deadline
@given(streams(), settings, st.lists(st.integers(1, 8), max_size=40))
def test_however_many_come_together_each_is_answered_once_in_order(
    frames: list[Frame], sizes: tuple[int, int], together: list[int]
) -> None:
    rolling, made, rest = RollingWindows(*sizes, max_gap_s=1.0), [], list(frames)
    for count in together:
        made += rolling.extend(rest[:count])
        rest = rest[count:]
        assert rolling.unanswered < sizes[1]
    made += rolling.extend(rest)
    tail = rolling.flush()
    made += [] if tail is None else [tail]
    answered = [frame.seq for window in made for frame in window.frames[-window.answers :]]
    assert answered == [frame.seq for frame in frames]
    for window in made:
        assert 1 <= window.answers <= len(window.frames) <= sizes[0]
        assert not any(breaks(before, after) for before, after in pairwise(window.frames))


def test_what_comes_together_is_answered_by_as_few_windows_as_hold_it() -> None:
    rolling = RollingWindows(4, 1)
    assert [w.answers for w in rolling.extend(make_frame(seq) for seq in range(3))] == [3]
    assert [w.answers for w in rolling.extend(make_frame(seq) for seq in range(3, 9))] == [4, 2]


@no_deadline
@given(streams(), settings)
def test_windows_are_bounded_consecutive_and_span_no_discontinuity(
    frames: list[Frame], sizes: tuple[int, int]
) -> None:
    window_frames, stride = sizes
    for window in run(frames, window_frames, stride):
        assert 1 <= window.answers <= stride
        assert window.answers <= len(window.frames) <= window_frames
        for before, after in pairwise(window.frames):
            assert after.seq == before.seq + 1
            assert not breaks(before, after)


@no_deadline
@given(streams(), settings)
def test_a_window_looks_back_as_far_as_it_may(frames: list[Frame], sizes: tuple[int, int]) -> None:
    window_frames, stride = sizes
    for window in run(frames, window_frames, stride):
        first = window.frames[0]
        full = len(window.frames) == window_frames
        starts_a_stretch = first.seq == 0 or breaks(frames[first.seq - 1], first)
        assert full or starts_a_stretch


@no_deadline
@given(streams(), settings)
def test_the_first_window_after_a_discontinuity_says_so(frames: list[Frame], sizes: tuple[int, int]) -> None:
    starts = {f.seq for f in frames if f.discontinuity or (f.seq and breaks(frames[f.seq - 1], f))}
    for window in run(frames, *sizes):
        newly = {frame.seq for frame in window.frames[-window.answers :]}
        assert bool(window.after) == bool(newly & starts)


def test_with_stride_one_every_push_is_answered_at_once() -> None:
    windows = RollingWindows(3, 1)
    lengths = []
    for seq in range(5):
        window = windows.push(make_frame(seq))
        assert window is not None
        assert window.frames[-1].seq == seq
        lengths.append(len(window.frames))
    assert lengths == [1, 2, 3, 3, 3]


def test_a_change_of_clock_is_no_step_back_in_time() -> None:
    windows = RollingWindows(3, 1)
    windows.push(make_frame(0, at_s=10.0, clock="arrival"))
    window = windows.push(make_frame(1, at_s=9.9, clock="rtcp"))
    assert window is not None
    assert len(window.frames) == 2
    window = windows.push(make_frame(2, at_s=9.8, clock="rtcp"))
    assert window is not None
    assert window.after == "gap"


@pytest.mark.parametrize(("window_frames", "stride"), [(0, 1), (3, 0), (3, 4)])
def test_a_stride_outside_the_window_is_refused(window_frames: int, stride: int) -> None:
    with pytest.raises(ValueError, match=r"stride|window"):
        RollingWindows(window_frames, stride)


def test_each_break_is_named_and_has_its_policy() -> None:
    small, large = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)
    frames = [
        make_frame(0, at_s=0.0, image=small),
        make_frame(1, at_s=0.1, image=large, discontinuity=True),
        make_frame(2, at_s=0.2, image=large, discontinuity=True),
        make_frame(3, at_s=5.0, image=large),
        replace(make_frame(4, at_s=5.1, image=large), flags=("cut",)),
        replace(make_frame(5, at_s=5.2, image=large), flags=("stale",)),
        replace(make_frame(6, at_s=5.3, image=large), flags=("stale",)),
        make_frame(7, at_s=5.4, image=large),
        make_frame(8, at_s=5.5, image=large),
    ]
    windows = RollingWindows(2, 1, max_gap_s=1.0, policies={"cut": "reset", "gap": "keep"})
    said = [windows.push(frame) for frame in frames]
    assert [w and w.after for w in said] == [None, "resize", "gap", "gap", "cut", None, None, "stale", None]
    assert [w and w.policy for w in said] == [
        "age", "age", "keep", "keep", "reset", "age", "age", "age", "age",
    ]  # fmt: skip
    assert [w and len(w.frames) for w in said] == [1, 1, 1, 1, 1, 2, 2, 1, 2]
