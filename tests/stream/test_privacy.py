"""What is hidden of a picture, and that nobody who reads a camera is given it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.app import Service
from stream.camera_config import CameraConfig
from stream.config import PipelineConfig, parse_config
from stream.errors import ConfigError
from stream.metrics import Metrics
from stream.pipeline import CameraPipeline
from stream.privacy import BLOCKS, FORGET_S, LEAST_PX, MARGIN, MISSED_S, STRAYS_PER_S, Blur
from stream.scene import Scene
from stream.scheduler import Scheduler
from stream.statistics import CameraStatistics
from stream.types import TrackedFrame
from syncvis_online.types import Image, Mask
from tests.stream.frames import ListSource, SquareEngine, make_frame, make_tracked
from tests.stream.viewer_frames import SIZE, ellipse, make_track

HEIGHT, WIDTH = SIZE
CHECKERS: Image = np.broadcast_to(
    (255 * (np.indices(SIZE).sum(axis=0) % 2)).astype(np.uint8)[..., None], (*SIZE, 3)
)
"""Nothing but detail: its mean is the same everywhere."""
PERSON = ellipse((160, 96), (20, 60))


def frame_with(
    mask: Mask, image: Image = CHECKERS, *, label: str = "person", lost: bool = False, track_id: int = 1
) -> TrackedFrame:
    track = make_track(track_id, mask, label)
    if lost:
        track = replace(track, mask=make_track(1, np.zeros_like(mask)).mask, state="lost")
    return replace(make_tracked(0, tracks=0), image=image, tracks=(track,))


def differs(frame: TrackedFrame, image: Image = CHECKERS) -> Mask:
    changed: Mask = (frame.image != image).any(axis=2)
    return changed


def around(mask: Mask, pixels: int) -> Mask:
    """The mask and all within so many rows and columns of it."""
    ys, xs = np.nonzero(mask)
    grown = np.zeros_like(mask)
    for y, x in zip(ys, xs, strict=True):
        grown[max(0, y - pixels) : y + pixels + 1, max(0, x - pixels) : x + pixels + 1] = True
    return grown


@settings(max_examples=40, deadline=None)
@given(
    center=st.tuples(st.integers(-10, WIDTH + 10), st.integers(-10, HEIGHT + 10)),
    axes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_no_detail_is_left_of_it_and_of_what_is_around_it(
    center: tuple[int, int], axes: tuple[int, int]
) -> None:
    mask = ellipse(center, axes)
    if not mask.any():
        return
    frame = frame_with(mask)
    shown = Blur(["person"]).of(frame)
    x0, y0, x1, y1 = frame.tracks[0].box_xyxy
    longer = max(x1 - x0, y1 - y0)
    hidden = around(mask, max(LEAST_PX, round(MARGIN * longer)))
    assert np.array_equal(differs(shown), hidden), "all of it, and nothing else"
    # Blocks cut by the picture's edge may hold one column more of one colour than of the other.
    assert np.abs(shown.image[hidden].astype(int) - 127).max() <= 32
    assert len(np.unique(shown.image[hidden], axis=0)) <= (BLOCKS + 4) ** 2


def test_a_head_is_one_block() -> None:
    """A picture of a standing person, 120 pixels high, has a head of about 16: no two of its pixels differ."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    shown = Blur(["person"]).of(frame_with(PERSON, noise)).image
    head = shown[38:54, 152:168]
    assert len(np.unique(head.reshape(-1, 3), axis=0)) <= 4, "it lies in two blocks each way at most"


def test_the_frame_that_came_is_not_written_to_and_another_class_is_shown() -> None:
    frame = frame_with(PERSON)
    before = frame.image.copy()
    assert Blur(["person"]).of(frame) is not frame
    assert np.array_equal(frame.image, before)
    assert Blur(["car"]).of(frame) is frame


def test_who_is_lost_is_hidden_where_it_was_seen_last() -> None:
    frame = frame_with(PERSON, lost=True)
    x0, y0, x1, y1 = (round(edge) for edge in frame.tracks[0].box_xyxy)
    hidden = differs(Blur(["person"]).of(frame))
    assert hidden[y0:y1, x0:x1].all()
    assert hidden.sum() == (x1 - x0 + 30) * (y1 - y0 + 30), "and 15 pixels around it, an eighth of its height"


def at(frame: TrackedFrame, time_s: float) -> TrackedFrame:
    return replace(frame, captured_at_s=time_s)


def nobody(time_s: float, image: Image = CHECKERS) -> TrackedFrame:
    return replace(at(frame_with(PERSON), time_s), tracks=(), image=image)


def surroundings(mask: Mask, margin: int) -> Mask:
    """The mask's box and all within so many rows and columns of it."""
    ys, xs = np.nonzero(mask)
    box = np.zeros_like(mask)
    box[
        max(0, ys.min() - margin) : ys.max() + margin + 1, max(0, xs.min() - margin) : xs.max() + margin + 1
    ] = True
    return box


def test_who_is_missed_is_hidden_where_it_was_and_may_have_gone() -> None:
    blur = Blur(["person"])
    blur.of(at(frame_with(PERSON), 50.0))
    longer = 121  # rows of PERSON
    for passed in (0.0, 0.1, 0.5, 1.4, 1.9):
        hidden = differs(blur.of(nobody(50.0 + passed)))
        wanted = surroundings(PERSON, max(LEAST_PX, round((MARGIN + STRAYS_PER_S * passed) * longer)))
        assert np.array_equal(hidden, wanted), passed
    assert not differs(blur.of(nobody(50.1 + MISSED_S))).any()


@settings(max_examples=40, deadline=None)
@given(
    angle=st.floats(0, 6.3),
    heights_per_s=st.floats(0, 1.0),
    fps=st.sampled_from([5.0, 12.0, 25.0, 30.0]),
)
def test_who_walks_on_while_missed_is_hidden_all_the_way(
    angle: float, heights_per_s: float, fps: float
) -> None:
    blur = Blur(["person"])
    blur.of(at(frame_with(ellipse((160, 96), (8, 20))), 0.0))
    for step in range(1, int(1.5 * fps)):
        way = 41 * heights_per_s * step / fps
        there = ellipse((round(160 + way * np.cos(angle)), round(96 + way * np.sin(angle))), (8, 20))
        assert differs(blur.of(nobody(step / fps)))[there].all(), step


def test_who_is_found_again_is_hidden_there_and_no_more_where_it_was() -> None:
    blur = Blur(["person"])
    blur.of(at(frame_with(PERSON), 0.0))
    blur.of(nobody(0.2))
    elsewhere = ellipse((60, 96), (10, 30))
    hidden = differs(blur.of(at(frame_with(elsewhere), 0.4)))
    assert hidden[elsewhere].all()
    assert not hidden[PERSON].any()


def test_who_was_a_person_once_stays_hidden_under_its_id() -> None:
    blur = Blur(["person"])
    for label, hidden in (("dog", False), ("person", True), ("dog", True), ("dog", True)):
        assert differs(blur.of(frame_with(PERSON, label=label))).any() == hidden
    assert differs(blur.of(frame_with(PERSON, label="dog", track_id=2))).any(), "1 may still be there"
    blur.of(nobody(1000.0 + MISSED_S))
    blur.of(nobody(1000.1 + 2 * MISSED_S))
    assert differs(blur.of(at(frame_with(PERSON, label="dog"), 1005.0))).any()
    for second in (1006.0, 1007.0, 1008.0):
        blur.of(nobody(second))
    assert not differs(blur.of(at(frame_with(PERSON, label="dog", track_id=2), 1008.1))).any()


def test_ids_are_not_kept_for_ever() -> None:
    blur = Blur(["person"])
    for second in range(0, 400, 2):
        blur.of(at(frame_with(PERSON, track_id=second + 1), float(second)))
    assert len(blur._hidden) <= 2 * FORGET_S


@pytest.mark.parametrize("jump", [20.0, 3600.0, -3600.0])
def test_neither_a_slow_camera_nor_a_clock_that_jumps_shows_who_is_missed(jump: float) -> None:
    blur = Blur(["person"])
    blur.of(at(frame_with(PERSON), 5000.0))
    assert differs(blur.of(nobody(5000.0 + jump)))[PERSON].all()


def test_a_camera_that_changes_its_picture_s_size_hides_the_same_place() -> None:
    blur = Blur(["person"])
    blur.of(at(frame_with(PERSON), 0.0))
    larger: Image = np.ascontiguousarray(np.tile(CHECKERS, (2, 2, 1)))
    hidden = differs(blur.of(nobody(0.1, larger)), larger)
    assert hidden[np.kron(PERSON, np.ones((2, 2), bool))].all()


def test_other_settings_do_not_show_who_is_hidden() -> None:
    camera = CameraConfig(url="synthetic:1", blur=("person",))
    scene = Scene.of(camera)
    scene.blur.of(frame_with(PERSON))
    scene.reconfigure(camera.model_copy(update={"min_score": 0.5}))
    assert differs(scene.blur.of(frame_with(PERSON, label="dog"))).any()
    scene.reconfigure(camera.model_copy(update={"blur": ()}))
    assert not scene.blur.any


async def test_who_is_not_told_of_is_hidden_all_the_same() -> None:
    """Classes and scores that are left out of what is told are not left out of what is hidden."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 255
    scheduler = Scheduler(SquareEngine(1, 1))
    scheduler.start()
    statistics = CameraStatistics("cam", "test", Metrics(CollectorRegistry()))
    camera = CameraConfig(url="synthetic:1", blur=("dog",), labels=("cat",), min_score=0.99)
    seen: list[TrackedFrame] = []

    async def sink(frame: TrackedFrame) -> None:
        seen.append(frame)

    source = ListSource(make_frame(seq, image=image) for seq in range(3))
    pipeline = CameraPipeline(
        source, scheduler, statistics, PipelineConfig(), sink=sink, scene=Scene.of(camera)
    )
    await pipeline.run()
    await scheduler.close()
    assert len(seen) == 3
    for frame in (*seen, pipeline.hub.latest):
        assert frame is not None
        assert frame.tracks == ()
        assert np.ptp(frame.image[2:5, 3:6]) == 0
        assert np.ptp(frame.image[40:, 40:]) == 255


def test_a_class_that_the_model_does_not_know_cannot_be_hidden() -> None:
    config = parse_config({"cameras": {"yard": {"url": "synthetic:1", "blur": ["people"]}}}, "test")
    with pytest.raises(ConfigError, match=r"cameras\.yard\.blur: the model knows no 'people'"):
        Service(config, SquareEngine())


@pytest.mark.parametrize(
    ("changes", "as_sent"), [({}, True), ({"blur": ["dog"]}, False), ({"crop": [0, 0, 1, 0.5]}, False)]
)
def test_the_camera_s_own_packets_are_for_nobody_where_its_picture_is_not_for_all(
    changes: dict[str, object], as_sent: bool
) -> None:
    assert CameraConfig.model_validate({"url": "rtsp://host/x"} | changes).as_sent == as_sent
